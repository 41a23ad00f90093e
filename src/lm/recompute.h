// Gradient checkpointing of residual layers.
#pragma once

#include <functional>

#include "src/nn/at.h"

namespace whyrec::lm {

// layer(x), of the shape of x, keeping nothing but x: the backward pass runs the layer again, which
// must give the same then. Without gradients: layer(x).
at::Tensor Recomputed(const at::Tensor& x,
                      const std::function<at::Tensor(const at::Tensor&)>& layer);

}  // namespace whyrec::lm
