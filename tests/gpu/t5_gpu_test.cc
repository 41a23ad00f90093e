// T5 on a GPU against the same weights on the CPU.
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include "src/decode/beam_search.h"
#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/gpu/device.h"

namespace whyrec::lm {
namespace {

struct T5OnDevice {
  T5OnDevice(at::ScalarType dtype, at::Device device)
      : tensors(store::ReadSafetensors(Golden() / "t5_golden.safetensors")),
        parameters(dtype, device),
        model(LoadT5Config(Golden() / "t5"), parameters) {
    model.Load(Golden() / "t5");
    ids = tensor::View(tensors.at("ids")).to(device);
    mask = tensor::View(tensors.at("mask")).to(device, at::kBool);
  }
  at::Tensor Loss() {
    const at::Tensor inputs = tensor::View(tensors.at("inputs")).to(parameters.device());
    const at::Tensor targets = tensor::View(tensors.at("targets")).to(parameters.device());
    const at::Tensor memory = model.Encode(model.Embed(ids), mask, {});
    logits = model.Decode(inputs, memory, mask, {});
    const at::Tensor loss =
        at::cross_entropy_loss(logits.to(at::kFloat).flatten(0, 1), targets.flatten());
    loss.backward();
    return loss;
  }
  std::vector<std::vector<decode::Hypothesis>> Beams() {
    const c10::NoGradGuard no_grad;
    auto cache = model.Start(model.Encode(model.Embed(ids), mask, {}), mask);
    return decode::BeamSearch(
        [&](const decode::StepInput& input) { return model.Step(cache, input); }, ids.size(0),
        {.beams = 8, .returned = 4, .max_new_tokens = 12});
  }
  store::TensorMap tensors;
  nn::Parameters parameters;
  T5 model;
  at::Tensor ids, mask, logits;
};

using T5Gpu = Gpu;

TEST_F(T5Gpu, LogitsLossAndGradientsEqualTheCpus) {
  T5OnDevice cpu(at::kFloat, at::kCPU);
  const at::Tensor loss = cpu.Loss();
  for (const auto& [dtype, outputs, gradients] : kPrecisions) {
    T5OnDevice gpu(dtype, TestDevice());
    EXPECT_LT(Difference(gpu.Loss(), loss), outputs) << dtype;
    EXPECT_LT(Difference(gpu.logits, cpu.logits), outputs) << dtype;
    for (const auto& [path, parameter] : gpu.parameters.all())
      EXPECT_LT(Difference(parameter.grad(), cpu.parameters.Get(path).grad()), gradients)
          << path << " " << dtype;
  }
}

TEST_F(T5Gpu, BeamsEqualTheCpus) {
  const auto want = T5OnDevice(at::kFloat, at::kCPU).Beams();
  const auto got = T5OnDevice(at::kFloat, TestDevice()).Beams();
  ASSERT_EQ(got.size(), want.size());
  for (size_t sample = 0; sample < want.size(); ++sample)
    for (size_t rank = 0; rank < want[sample].size(); ++rank) {
      EXPECT_EQ(got[sample][rank].tokens, want[sample][rank].tokens) << sample << " " << rank;
      EXPECT_NEAR(got[sample][rank].score, want[sample][rank].score, 1e-4);
    }
}

}  // namespace
}  // namespace whyrec::lm
