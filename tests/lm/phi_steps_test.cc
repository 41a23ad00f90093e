// The decoder's cached steps against whole forward passes without a cache.
#include "src/lm/phi_steps.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "src/base/rng.h"
#include "tests/golden/folder.h"

namespace whyrec::lm {
namespace {

at::Tensor Whole(const Phi& model, const std::vector<int64_t>& ids, int64_t total_length) {
  const auto n = static_cast<int64_t>(ids.size());
  return model
      .Logits(model.Hidden(at::tensor(ids), at::arange(n, at::kLong), CausalAttention({n}),
                           total_length))
      .select(0, n - 1);
}

// Beams that continue beams at random, from prompts of one token and of many.
TEST(PhiSteps, StepsOfPermutedBeamsEqualWholePasses) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  nn::Parameters parameters(at::kDouble);
  Phi model(LoadPhiConfig(kGolden / "phi"), parameters);
  model.Load(kGolden / "phi");
  Rng rng(3, "phi steps");
  const auto token = [&] {
    return static_cast<int64_t>(rng.Below(static_cast<uint64_t>(model.config().vocabulary)));
  };
  for (const size_t length : {1, 11}) {
    std::vector<int64_t> prompt(length);
    for (int64_t& id : prompt) id = token();
    constexpr int64_t kBeams = 4, kSteps = 6;
    const int64_t total_length = static_cast<int64_t>(length) + kSteps;
    PhiSteps steps(model, prompt, kSteps);
    std::vector<std::vector<int64_t>> rows = {prompt};
    at::Tensor logits = steps.Step({.tokens = at::tensor(std::vector<int64_t>{prompt.back()}),
                                    .origin = {},
                                    .width = 1,
                                    .kept = {}});
    for (int64_t step = 1; step < kSteps; ++step) {
      std::vector<int64_t> tokens, origin;
      std::vector<std::vector<int64_t>> next;
      for (int64_t beam = 0; beam < kBeams; ++beam) {
        origin.push_back(static_cast<int64_t>(rng.Below(rows.size())));
        tokens.push_back(token());
        next.push_back(rows[static_cast<size_t>(origin.back())]);
        next.back().push_back(tokens.back());
      }
      rows = next;
      logits = steps.Step({.tokens = at::tensor(tokens),
                           .origin = at::tensor(origin),
                           .width = kBeams,
                           .kept = {}});
      for (int64_t beam = 0; beam < kBeams; ++beam) {
        const at::Tensor whole = Whole(model, rows[static_cast<size_t>(beam)], total_length);
        EXPECT_LT((logits[beam] - whole).abs().max().item<double>(), 1e-10)
            << "prompt of " << length << ", step " << step << ", beam " << beam;
      }
    }
  }
}

}  // namespace
}  // namespace whyrec::lm
