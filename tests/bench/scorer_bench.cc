// Users per second of PULSE's scorer, candidates packed behind one prefix against one sequence per
// candidate: forward, and one training step; random weights. Not a test:
//   scorer_bench [users] [prefix tokens] [branch tokens] [width] [layers] [bf16] [cuda]
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "src/lm/packed_branches.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {
namespace {

constexpr int64_t kCandidates = 10;

double Seconds(const std::function<void()>& run) {
  run();
  double best = 1e30;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Trees of one pass: a user's candidates as branches of one, or a sequence for each.
struct Pass {
  std::vector<PackedBranches> trees;
  std::vector<nn::RowRun> runs;  // the user of each
  at::Tensor ids, positions;

  Pass(int64_t users, int64_t prefix, int64_t branch, bool packed, int64_t vocabulary,
       c10::Device device) {
    PackedBranches tree{.prefix = prefix, .branches = {branch}};
    if (packed) tree.branches.assign(kCandidates, branch);
    trees.assign(static_cast<size_t>(users * (packed ? 1 : kCandidates)), tree);
    for (int64_t i = 0; i < std::ssize(trees); ++i)
      runs.push_back({i * users / std::ssize(trees), tree.tokens()});
    positions = at::cat(std::vector<at::Tensor>(trees.size(), TreePositions(tree))).to(device);
    ids = at::randint(2, vocabulary, {positions.size(0)}, at::kLong).to(device);
  }
};

int Main(int argc, char** argv) {
  const auto number = [&](int place, int64_t fallback) {
    return argc > place ? std::atoll(argv[place]) : fallback;
  };
  const int64_t users = number(1, 8), prefix = number(2, 290), branch = number(3, 22);
  const bool half = argc > 6 && std::string(argv[6]) == "bf16";
  const bool cuda = argc > 7 && std::string(argv[7]) == "cuda";
  PhiConfig config;
  config.vocabulary = 8192;
  config.width = number(4, 256);
  config.layers = number(5, 4);
  config.inner = config.width * 8 / 3;
  config.heads = config.width / 32;
  config.key_heads = std::max<int64_t>(config.heads / 3, 1);
  while (config.heads % config.key_heads != 0) --config.key_heads;
  config.bos = config.pad = 0;
  config.eos = {0};
  const c10::Device device(cuda ? at::kCUDA : at::kCPU);
  nn::Parameters parameters(half ? at::kBFloat16 : at::kFloat, device);
  nn::Parameters adapters(at::kFloat, device);
  Phi model(config, parameters);
  model.Initialise(1);
  Lora lora(model, {}, adapters);
  lora.Initialise(1);
  std::printf(
      "%lld users, prefix %lld, %lld branches of %lld, width %lld, %lld layers, %s on %s, "
      "%d threads\n",
      static_cast<long long>(users), static_cast<long long>(prefix),
      static_cast<long long>(kCandidates), static_cast<long long>(branch),
      static_cast<long long>(config.width), static_cast<long long>(config.layers),
      half ? "bf16" : "fp32", cuda ? "cuda" : "cpu", at::get_num_threads());
  double forward[2], step[2];
  for (const bool packed : {false, true}) {
    const Pass pass(users, prefix, branch, packed, config.vocabulary, device);
    const auto sum = [&](const nn::Draws& draws) {
      return model
          .Hidden(pass.ids, pass.positions, TreeAttention(pass.trees), prefix + branch,
                  nn::KeysOf(draws, "scorer", pass.runs, device))
          .sum(at::kFloat);
    };
    forward[packed] = Seconds([&] {
      const c10::NoGradGuard no_grad;
      sum({}).item<float>();
    });
    step[packed] = Seconds([&] { sum(nn::DrawsOf(1, 0, 0, users)).backward(); });
    std::printf(
        "%-10s %6lld tokens  forward %8.3f s  %7.1f users/s   step %8.3f s  %7.1f users/s\n",
        packed ? "packed" : "pointwise", static_cast<long long>(pass.ids.size(0)), forward[packed],
        static_cast<double>(users) / forward[packed], step[packed],
        static_cast<double>(users) / step[packed]);
  }
  std::printf("packed is %.2f times faster forward, %.2f times in a step\n",
              forward[0] / forward[1], step[0] / step[1]);
  return 0;
}

}  // namespace
}  // namespace whyrec::lm

int main(int argc, char** argv) { return whyrec::lm::Main(argc, argv); }
