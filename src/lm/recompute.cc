#include "src/lm/recompute.h"

#include <ATen/Context.h>
#include <c10/core/GradMode.h>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

at::Tensor RandomState(const at::Device& device) {
  return at::globalContext().defaultGenerator(device).get_state();
}

void SetRandomState(const at::Device& device, const at::Tensor& state) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  generator.set_state(state);
}

}  // namespace

at::Tensor Recomputed(const at::Tensor& x,
                      const std::function<at::Tensor(const at::Tensor&)>& layer) {
  if (!c10::GradMode::is_enabled()) return layer(x);
  // The layer's own parameters may want gradients although x does not (frozen embeddings).
  const at::Tensor input = x.requires_grad() ? x : x.detach().set_requires_grad(true);
  const at::Tensor state = RandomState(x.device());
  // For autograd the result is a copy of x; its hook turns the gradient of the result into that of
  // x, which has the same shape.
  at::Tensor output = input.clone();
  {
    const c10::NoGradGuard no_grad;
    output.detach().copy_(layer(input));
  }
  const at::Tensor kept = input.detach();
  output.register_hook([kept, state, layer](const at::Tensor& gradient) {
    const at::Tensor now = RandomState(kept.device());
    SetRandomState(kept.device(), state);
    const at::Tensor again = kept.detach().set_requires_grad(true);
    {
      const c10::AutoGradMode with_gradients(true);
      layer(again).backward(gradient);  // also adds to the layer's parameters
    }
    SetRandomState(kept.device(), now);
    return again.grad();
  });
  return output;
}

}  // namespace whyrec::lm
