// Nccl for procs/nccl_test.cc: `nccl_ranks N what`, N ranks as threads of this process on N
// devices, with whichever libcuda.so.1 and libnccl.so.2 are found. Leaves with 77 where there is
// none. `host`: the checks on host buffers; `device`: on device memory; `joined`: both, through
// what Connect makes of the ranks' devices.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cluster/collective/by_place.h"
#include "cluster/collective/module.h"
#include "tests/cluster/collective/conformance.h"

namespace whyrec::cluster {
namespace {

// Takes the checks' host buffers to device memory and back around every operation.
class OnDevice final : public Communicator {
 public:
  OnDevice(Communicator& comm, int device)
      : comm_(comm), cuda_(NcclTable()), at_{Place::Kind::kCuda, device, nullptr} {}
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }

  void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place) override {
    StartAllReduce(values, count, dtype, op, {})->Wait();
  }
  std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype, Reduce op,
                                          Place) override {
    auto moved = std::make_unique<Moved>(*this, values, Bytes(count, dtype));
    moved->pending = comm_.StartAllReduce(moved->buffer.bytes, count, dtype, op, at_);
    return moved;
  }
  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce op,
                     Place) override {
    const int64_t mine = Bytes(counts[static_cast<size_t>(rank())], dtype);
    Buffer in(*this, values, Bytes(Sum(counts), dtype)), out(*this, own, mine);
    comm_.ReduceScatter(in.bytes, out.bytes, counts, dtype, op, at_);
    out.Return(own);
  }
  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place) override {
    Buffer in(*this, own, bytes[static_cast<size_t>(rank())]), out(*this, all, Sum(bytes));
    comm_.AllGatherInto(in.bytes, out.bytes, bytes, at_);
    out.Return(all);
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return comm_.AllGather(bytes, n);
  }
  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place) override {
    Buffer from(*this, in, Sum(send)), to(*this, out, Sum(receive));
    comm_.AllToAll(from.bytes, send, to.bytes, receive, at_);
    to.Return(out);
  }
  void Broadcast(void* bytes, size_t n, int root, Place) override {
    Buffer buffer(*this, bytes, static_cast<int64_t>(n));
    comm_.Broadcast(buffer.bytes, n, root, at_);
    buffer.Return(bytes);
  }
  void Barrier(Waiting waiting) override { comm_.Barrier(waiting); }
  void Abort(int code) override { comm_.Abort(code); }

 private:
  struct Buffer {
    Buffer(OnDevice& comm, const void* from, int64_t n) : comm(comm), n(n) {
      comm.Check(comm.cuda_.allocate(&bytes, std::max<int64_t>(n, 1)));
      if (n > 0) comm.Check(comm.cuda_.copy(bytes, from, n, nullptr));
      comm.Check(comm.cuda_.synchronise(nullptr));
    }
    ~Buffer() { comm.cuda_.release(bytes); }
    void Return(void* to) {
      if (n > 0) comm.Check(comm.cuda_.copy(to, bytes, n, nullptr));
      comm.Check(comm.cuda_.synchronise(nullptr));
    }
    OnDevice& comm;
    int64_t n;
    void* bytes = nullptr;
  };
  struct Moved final : Pending {
    Moved(OnDevice& comm, void* host, int64_t n) : buffer(comm, host, n), host(host) {}
    void Wait() override {
      pending->Wait();
      buffer.Return(host);
    }
    Buffer buffer;
    void* host;
    std::unique_ptr<Pending> pending;
  };
  void Check(int error) const { WR_CHECK(error == 0, cuda_.explain()); }
  static int64_t Sum(const Sizes& sizes) {
    int64_t sum = 0;
    for (int64_t n : sizes) sum += n;
    return sum;
  }
  static int64_t Bytes(int64_t count, DType dtype) {
    return count * static_cast<int64_t>(SizeOf(dtype));
  }

  Communicator& comm_;
  const WhyrecNcclTable& cuda_;
  Place at_;
};

// NCCL adds in its own order and rounds halves at every step, and its receivers do not know what
// was sent.
bool Promised(const std::string& check, int ranks) {
  return ranks == 1 || (check.find("InFp32") == check.npos && check.find("Halves") == check.npos &&
                        check != "RefusesUnequalBlocks");
}

void RunRanks(int ranks, const std::string& what) {
  const bool same = what == "one-gpu", hang = what == "hang";
  CommunicatorOptions options;
  if (hang) options.seconds = options.first_seconds = 1;
  RunThreads(ranks, [&](Communicator& host) {
    const int device = same ? 0 : host.rank();
    const auto nccl = MakeNccl(host, device, options);
    WR_CHECK(NcclTable().use_device(device) == 0);
    OnDevice on_device(*nccl, device);
    Communicator& comm = what == "host" ? *nccl : static_cast<Communicator&>(on_device);
    if (hang) {
      float x = 1;
      if (host.rank() == 0) comm.AllReduce(&x, 1, DType::kF32, Reduce::kSum);
      host.Barrier(Waiting::kForWork);
      return;
    }
    for (const Check& check : kConformance) {
      if (what != "host" && !Promised(check.name, ranks)) continue;
      if (what == "host" && std::string(check.name) == "RefusesUnequalBlocks") continue;
      check.run(comm);
      if (host.rank() == 0) std::printf("%s holds on %d ranks\n", check.name, ranks);
    }
  });
}

void RunJoined(int ranks) {
  RunThreads(ranks, [&](Communicator& host) {
    const Launch launch = {host.rank(), ranks, host.rank(), ranks, "threads"};
    const auto both = WithNccl({std::shared_ptr<void>(), &host}, launch, {.device = "auto"});
    for (const Check& check : kConformance) {
      check.run(*both);
      if (host.rank() == 0) std::printf("%s holds on %d hosts\n", check.name, ranks);
    }
    OnDevice devices(*both, host.rank());
    for (const Check& check : kConformance) {
      if (!Promised(check.name, ranks)) continue;
      check.run(devices);
      if (host.rank() == 0) std::printf("%s holds on %d devices\n", check.name, ranks);
    }
  });
}

int Devices() {
  int devices = 0, cuda = 0, nccl = 0;
  const WhyrecNcclTable& table = NcclTable();
  if (table.device_count(&devices, &cuda) != 0 || table.version(&nccl) != 0) {
    std::printf("no GPU here: %s\n", table.explain());
    return 0;
  }
  return devices;
}

}  // namespace
}  // namespace whyrec::cluster

int main(int argc, char** argv) try {
  using namespace whyrec::cluster;
  if (argc != 3) return 2;
  if (std::string(argv[2]) != "no-device" && Devices() == 0) return 77;
  const int ranks = std::atoi(argv[1]);
  std::string(argv[2]) == "joined" ? RunJoined(ranks) : RunRanks(ranks, argv[2]);
  return 0;
} catch (const whyrec::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return static_cast<int>(e.code());
}
