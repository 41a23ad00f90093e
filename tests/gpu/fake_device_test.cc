// The stand-in for a GPU (fake/torch_cuda.cc): that it finds what a GPU would refuse, and what
// needs one process per GPU otherwise. Skipped where it is not loaded.
#include <ATen/ops/embedding.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include "src/lm/t5.h"
#include "src/systems/sasrec_network.h"
#include "src/train/optimizer.h"
#include "src/train/reducer.h"
#include "tests/gpu/device.h"
#include "tests/gpu/fake/torch_cuda.h"

namespace whyrec {
namespace {

using BytesOf = decltype(&FakeDeviceBytes);

BytesOf FindBytes() { return reinterpret_cast<BytesOf>(dlsym(RTLD_DEFAULT, "FakeDeviceBytes")); }

class FakeDevice : public Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (!IsSkipped() && (OnCpuByOrder() || FindBytes() == nullptr))
      GTEST_SKIP() << "the stand-in for a GPU is not loaded (tests/CMakeLists.txt)";
  }
};

TEST_F(FakeDevice, OperatorsRefuseTensorsOfTheHost) {
  const at::Tensor table = at::ones({5, 3}, at::TensorOptions(TestDevice()));
  const at::Tensor index = at::tensor(std::vector<int64_t>{1, 4});
  EXPECT_THROW(at::embedding(table, index), c10::Error);
  EXPECT_THROW(table.index_select(0, index), c10::Error);
  EXPECT_THROW(at::mm(table, at::ones({3, 2})), c10::Error);
  EXPECT_THROW(table + at::ones({5, 3}), c10::Error);
  EXPECT_EQ(at::embedding(table, index.to(TestDevice())).sum().item<double>(), 6);
  EXPECT_EQ((table * at::ones({})).sum().item<double>(), 15);  // a scalar
}

TEST_F(FakeDevice, NetworksRefuseMisplacedIndices) {
  nn::Parameters parameters(at::kFloat, TestDevice());
  const lm::T5 t5({.vocabulary = 9,
                   .d_model = 4,
                   .d_kv = 2,
                   .d_ff = 4,
                   .heads = 2,
                   .encoder_layers = 1,
                   .decoder_layers = 1,
                   .dropout = 0},
                  parameters);
  const at::Tensor ids = at::tensor(std::vector<int64_t>{1, 4}).unsqueeze(0);
  const at::Tensor there = ids.to(TestDevice());
  EXPECT_THROW(t5.Embed(ids), c10::Error);
  EXPECT_THROW(t5.Encode(t5.Embed(there), ids.ne(0), {}), c10::Error);
  t5.Encode(t5.Embed(there), there.ne(0), {}).sum().backward();
  const systems::SasRecNetwork sasrec({.items = 5, .dim = 4}, parameters);
  EXPECT_THROW(sasrec.Rows(ids), c10::Error);
}

TEST_F(FakeDevice, MemoryFaultsWhereTheHostReadsIt) {
  const at::Tensor table = at::ones({5, 3}, at::TensorOptions(TestDevice()));
  EXPECT_EXIT(std::exit(*table.const_data_ptr<float>() == 1), testing::KilledBySignal(SIGSEGV), "");
}

// Ranks are threads, which add on the host.
class OnHost final : public cluster::Communicator {
 public:
  explicit OnHost(cluster::Communicator& comm) : comm_(comm) {}
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }
  void AllReduce(void* values, int64_t count, DType dtype, cluster::Reduce op,
                 cluster::Place at) override {
    comm_.AllReduce(Bytes(values, at), count, dtype, op);
  }
  std::unique_ptr<cluster::Pending> StartAllReduce(void* values, int64_t count, DType dtype,
                                                   cluster::Reduce op, cluster::Place at) override {
    return comm_.StartAllReduce(Bytes(values, at), count, dtype, op);
  }
  void ReduceScatter(const void* values, void* own, const cluster::Sizes& counts, DType dtype,
                     cluster::Reduce op, cluster::Place at) override {
    comm_.ReduceScatter(Bytes(values, at), Bytes(own, at), counts, dtype, op);
  }
  void AllGatherInto(const void* own, void* all, const cluster::Sizes& bytes,
                     cluster::Place at) override {
    comm_.AllGatherInto(Bytes(own, at), Bytes(all, at), bytes);
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return comm_.AllGather(bytes, n);
  }
  void AllToAll(const void* in, const cluster::Sizes& send, void* out,
                const cluster::Sizes& receive, cluster::Place at) override {
    comm_.AllToAll(Bytes(in, at), send, Bytes(out, at), receive);
  }
  void Broadcast(void* bytes, size_t n, int root, cluster::Place at) override {
    comm_.Broadcast(Bytes(bytes, at), n, root);
  }
  void Barrier(cluster::Waiting waiting) override { comm_.Barrier(waiting); }
  void Abort(int code) override { comm_.Abort(code); }

 private:
  // A block of no bytes has no address.
  static void* Bytes(const void* at, cluster::Place place) {
    if (place.kind == cluster::Place::Kind::kHost || at == nullptr) return const_cast<void*>(at);
    return FindBytes()(at);
  }
  cluster::Communicator& comm_;
};

// Parameters after three steps of three ranks that touch few rows of a table.
std::vector<at::Tensor> Stepped(at::Device device, bool bf16) {
  std::vector<at::Tensor> out;
  cluster::RunThreads(3, [&](cluster::Communicator& threads) {
    OnHost comm(threads);
    nn::Parameters parameters(at::kFloat, device);
    const at::Tensor table = parameters.Add("table", {400, 8});
    const at::Tensor dense = parameters.Add("dense", {8, 8});
    for (const auto& [path, p] : parameters.all()) nn::FillNormal(p, path, 1, 0.3);
    train::AdamW optimizer(parameters, {.learning_rate = 0.01, .weight_decay = 0.1});
    // The backward passes of threads share the device's queue: none may wait for another's.
    train::Reducer reducer(parameters, comm, {.overlap = false, .bf16 = bf16, .table_bytes = 64});
    for (int64_t step = 0; step < 3; ++step) {
      optimizer.ZeroGrad();
      reducer.Begin("task");
      const at::Tensor rows = at::tensor(std::vector<int64_t>{comm.rank(), 7 + step}).to(device);
      at::mm(at::embedding(table, rows), dense).square().sum().backward();
      reducer.Finish();
      train::ClipGradients(parameters, 0.1, comm);
      optimizer.Step(1);
    }
    EXPECT_EQ(reducer.traffic().tables, 3);
    if (comm.rank() != 0) return;
    for (const auto& [path, p] : parameters.all()) out.push_back(p.detach().cpu());
  });
  return out;
}

TEST_F(FakeDevice, RanksSumClipAndStepThere) {
  for (const bool bf16 : {false, true}) {
    const auto cpu = Stepped(at::kCPU, bf16), gpu = Stepped(TestDevice(), bf16);
    for (size_t i = 0; i < cpu.size(); ++i) EXPECT_LT(Difference(gpu[i], cpu[i]), 1e-6) << bf16;
  }
}

}  // namespace
}  // namespace whyrec
