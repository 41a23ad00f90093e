// The decoder on a GPU against the same weights on the CPU.
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <map>

#include "src/base/rng.h"
#include "src/lm/phi.h"
#include "src/lm/text_engine.h"
#include "tests/gpu/device.h"

namespace whyrec::lm {
namespace {

struct PhiOnDevice {
  PhiOnDevice(at::ScalarType dtype, at::Device device)
      : parameters(dtype, device), model(LoadPhiConfig(Golden() / "phi"), parameters, "", true) {
    model.Load(Golden() / "phi");
  }
  // Loss of predicting each of the ids from those before it; fills the gradients.
  at::Tensor Loss(const std::vector<int64_t>& ids) {
    const auto n = static_cast<int64_t>(ids.size()) - 1;
    const at::Tensor all = at::tensor(ids).to(parameters.device());
    logits = model.Logits(
        model.Hidden(all.narrow(0, 0, n), at::arange(n, all.options()), CausalAttention({n}), n));
    const at::Tensor loss = at::cross_entropy_loss(logits.to(at::kFloat), all.narrow(0, 1, n));
    loss.backward();
    return loss;
  }
  nn::Parameters parameters;
  Phi model;
  at::Tensor logits;
};

std::vector<int64_t> SomeIds(size_t n, uint64_t sample) {
  Rng rng(11, "gpu test", 0, sample);
  std::vector<int64_t> ids(n);
  for (int64_t& id : ids) id = static_cast<int64_t>(rng.Below(200));
  return ids;
}

using PhiGpu = Gpu;

TEST_F(PhiGpu, LogitsLossAndGradientsEqualTheCpus) {
  PhiOnDevice cpu(at::kFloat, at::kCPU);
  const at::Tensor loss = cpu.Loss(SomeIds(40, 0));
  for (const auto& [dtype, outputs, gradients] : kPrecisions) {
    PhiOnDevice gpu(dtype, TestDevice());
    EXPECT_LT(Difference(gpu.Loss(SomeIds(40, 0)), loss), outputs) << dtype;
    EXPECT_LT(Difference(gpu.logits, cpu.logits), outputs) << dtype;
    for (const auto& [path, parameter] : gpu.parameters.all())
      EXPECT_LT(Difference(parameter.grad(), cpu.parameters.Get(path).grad()), gradients)
          << path << " " << dtype;
  }
}

std::map<size_t, std::vector<int64_t>> Greedy(PhiOnDevice& place, bool share) {
  std::vector<EngineRequest> requests;
  for (uint64_t r = 0; r < 12; ++r) {
    std::vector<int64_t> ids = SomeIds(20, r / 4);  // four requests share each beginning
    const std::vector<int64_t> own = SomeIds(5, 100 + r);
    ids.insert(ids.end(), own.begin(), own.end());
    requests.push_back({.name = std::to_string(r), .ids = ids, .group = "", .max_new_tokens = 16});
  }
  std::map<size_t, std::vector<int64_t>> texts;
  TextEngine engine(place.model, {.share_prefixes = share});
  engine.Run(requests, {}, [&](size_t r, EngineOutput output) { texts[r] = output.ids; });
  return texts;
}

TEST_F(PhiGpu, GreedyTextsEqualTheCpusWithAndWithoutSharedPrefixes) {
  const c10::NoGradGuard no_grad;
  PhiOnDevice cpu(at::kFloat, at::kCPU), gpu(at::kFloat, TestDevice());
  const auto want = Greedy(cpu, true);
  EXPECT_EQ(Greedy(gpu, true), want);
  EXPECT_EQ(Greedy(gpu, false), want);
}

}  // namespace
}  // namespace whyrec::lm
