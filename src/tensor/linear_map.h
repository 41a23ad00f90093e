// Linear maps that autograd cannot differentiate by itself: the caller gives the map and its
// transpose.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace whyrec::tensor {

using TensorFunction = std::function<at::Tensor(const at::Tensor&)>;

// map(x), differentiable in x: the gradient of x is transpose(gradient of the result). Both run
// without recording. `transpose` gets a contiguous tensor.
at::Tensor ApplyLinear(const at::Tensor& x, const TensorFunction& map, TensorFunction transpose);

}  // namespace whyrec::tensor
