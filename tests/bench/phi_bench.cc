// Phi-4-mini's full shapes with random weights in bf16: tokens per second while one level of a tree
// is generated; seconds and memory of LoRA training steps over 8 users of 512 tokens, beside the
// predicted memory. Needs 12 GB of device memory.
//   phi_bench [cpu|cuda] [users] [block tokens] [new tokens] [steps]
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "src/lm/lora.h"
#include "src/lm/packed_branches.h"
#include "src/lm/text_engine.h"
#include "src/nn/dropout.h"
#include "src/systems/pulse/memory.h"
#include "src/tensor/device.h"
#include "src/train/optimizer.h"

namespace whyrec {
namespace {

constexpr int64_t kUsers = 8, kPrefix = 292, kCandidates = 10, kBranch = 22;  // 512 tokens a user

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The most that tensors (GPU) or the process (CPU) have held since ForgetPeak.
class Peak {
 public:
  explicit Peak(c10::Device device) : device_(device) {
    if (device_.is_cpu())
      std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM begins again
    else
      at::getDeviceAllocator(device_.type())->resetPeakStats(Index());
  }
  double Bytes() const {
    if (!device_.is_cpu())
      return static_cast<double>(
          at::getDeviceAllocator(device_.type())->getDeviceStats(Index()).reserved_bytes[0].peak);
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
      if (word == "VmHWM:" && status >> word) return std::stod(word) * 1024;
    return 0;
  }

 private:
  c10::DeviceIndex Index() const { return std::max<c10::DeviceIndex>(device_.index(), 0); }
  c10::Device device_;
};

// One level of a tree of thoughts: three rows a user that share a block.
void Generate(const lm::Phi& model, c10::Device device, int64_t users, int64_t block,
              int64_t fresh) {
  std::vector<lm::EngineRequest> level;
  for (int64_t user = 0; user < users; ++user) {
    const at::Tensor ids = at::randint(2, model.config().vocabulary, {block}, at::kLong);
    const int64_t* first = ids.const_data_ptr<int64_t>();
    for (int64_t child = 0; child < 3; ++child)
      level.push_back({.name = std::to_string(3 * user + child),
                       .ids = {first, first + block},
                       .group = std::to_string(user),
                       .max_new_tokens = fresh});
  }
  const Peak peak(device);
  lm::TextEngine engine(model, {});
  const double seconds = Seconds([&] {
    engine.Run(level, {.temperature = 0.7, .top_k = 51, .top_p = 0.95, .seed = 1},
               [](size_t, const lm::EngineOutput&) {});
  });
  const lm::EngineCounts& counts = engine.counts();
  std::printf(
      "level of %lld users: %lld tokens read, %lld drawn in %.2f s, %.1f tokens/s, %.2f GB\n",
      static_cast<long long>(users), static_cast<long long>(counts.prefilled_tokens),
      static_cast<long long>(counts.decoded_tokens), seconds,
      static_cast<double>(counts.decoded_tokens) / seconds, peak.Bytes() / 1e9);
  std::fflush(stdout);
}

void Train(lm::Phi& model, c10::Device device, int64_t steps) {
  nn::Parameters adapters(at::kFloat, device);
  lm::Lora lora(model, {.modules_to_save = {"score"}}, adapters);
  lora.Initialise(1);
  model.RecomputeLayers(true);
  train::AdamW optimizer(adapters, {.learning_rate = 2e-4, .weight_decay = 0});
  lm::PackedBranches tree{.prefix = kPrefix, .branches = {}};
  tree.branches.assign(kCandidates, kBranch);
  const std::vector<lm::PackedBranches> trees(kUsers, tree);
  const int64_t tokens = tree.tokens();
  const at::Tensor positions =
      at::cat(std::vector<at::Tensor>(kUsers, lm::TreePositions(tree))).to(device);
  std::vector<int64_t> last;
  for (int64_t user = 0; user < kUsers; ++user)
    for (int64_t k = 1; k <= kCandidates; ++k)
      last.push_back(user * tokens + kPrefix + k * kBranch - 1);
  std::vector<nn::RowRun> runs;
  for (int64_t user = 0; user < kUsers; ++user) runs.push_back({user, tokens});
  const at::Tensor rows = at::tensor(last).to(device);
  const at::Tensor targets = at::zeros({kUsers}, at::kLong).to(device);
  const Peak peak(device);
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor ids =
        at::randint(2, model.config().vocabulary, {kUsers * tokens}, at::kLong).to(device);
    float loss = 0;
    const double seconds = Seconds([&] {
      const at::Tensor hidden =
          model.Hidden(ids, positions, lm::TreeAttention(trees), tree.longest_path(),
                       nn::KeysOf(nn::DrawsOf(1, step, 0, kUsers), "scorer", runs, device));
      const at::Tensor logits =
          at::mv(hidden.index_select(0, rows).to(at::kFloat), adapters.Get("score.weight")[0]);
      const at::Tensor value = at::cross_entropy_loss(logits.view({kUsers, kCandidates}), targets);
      value.backward();
      optimizer.Step();
      loss = value.item<float>();
    });
    std::printf("step %lld: %lld users of %lld tokens, loss %.4f, %.2f s, %.0f tokens/s, %.2f GB\n",
                static_cast<long long>(step + 1), static_cast<long long>(kUsers),
                static_cast<long long>(tokens), loss, seconds,
                static_cast<double>(kUsers * tokens) / seconds, peak.Bytes() / 1e9);
    std::fflush(stdout);
  }
}

void Plan(const lm::PhiConfig& sizes, bool gpu) {
  config::RunConfig config;
  config.mutable_pulse()->mutable_scorer()->set_dtype(config::ScorerConfig::BF16);
  config.mutable_train()->set_micro_batch(kUsers);
  const auto plan = systems::PlanMemory(config, systems::ShapeOf(sizes), /*recompute=*/true,
                                        {.gpu = gpu, .tokens = kPrefix + kCandidates * kBranch});
  for (const auto& [item, bytes] : plan)
    std::printf("plan: %-45s %6.2f GB\n", item.c_str(), bytes / 1e9);
}

int Main(int argc, char** argv) {
  const auto number = [&](int place, int64_t fallback) {
    return argc > place ? std::atoll(argv[place]) : fallback;
  };
  const c10::Device device = tensor::ChooseDevice(argc > 1 ? argv[1] : "auto");
  const lm::PhiConfig sizes;  // as published
  Plan(sizes, !device.is_cpu());
  nn::Parameters parameters(at::kBFloat16, device);
  lm::Phi model(sizes, parameters);
  const double made = Seconds([&] {
    for (const auto& [path, parameter] : parameters.all())
      path.ends_with("norm.weight") ? parameter.detach().fill_(1)
                                    : parameter.detach().uniform_(-0.035, 0.035);
  });
  std::printf("%lld parameters in bf16 on %s, made in %.0f s, %d threads\n",
              static_cast<long long>(parameters.Count()), device.str().c_str(), made,
              at::get_num_threads());
  std::fflush(stdout);
  Generate(model, device, number(2, 16), number(3, 946), number(4, 110));
  Train(model, device, number(5, 3));
  return 0;
}

}  // namespace
}  // namespace whyrec

int main(int argc, char** argv) { return whyrec::Main(argc, argv); }
