#include "src/lm/recompute.h"

#include <c10/core/GradMode.h>

namespace whyrec::lm {

at::Tensor Recomputed(const at::Tensor& x,
                      const std::function<at::Tensor(const at::Tensor&)>& layer) {
  if (!c10::GradMode::is_enabled()) return layer(x);
  // The layer's own parameters may want gradients although x does not (frozen embeddings).
  const at::Tensor input = x.requires_grad() ? x : x.detach().set_requires_grad(true);
  // For autograd the result is a copy of x; its hook turns the gradient of the result into that of
  // x, which has the same shape.
  at::Tensor output = input.clone();
  {
    const c10::NoGradGuard no_grad;
    output.detach().copy_(layer(input));
  }
  const at::Tensor kept = input.detach();
  output.register_hook([kept, layer](const at::Tensor& gradient) {
    const at::Tensor again = kept.detach().set_requires_grad(true);
    {
      const c10::AutoGradMode with_gradients(true);
      layer(again).backward(gradient);  // also adds to the layer's parameters
    }
    return again.grad();
  });
  return output;
}

}  // namespace whyrec::lm
