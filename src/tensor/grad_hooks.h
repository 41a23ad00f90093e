// Tells when a backward pass has added to a parameter's gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace whyrec::tensor {

// Calls `arrived` whenever a backward pass has added to leaf.grad(), in the thread that runs the
// pass: once a pass however often the leaf is used, and once for each pass within a pass (layers
// that are run again). One hook a leaf; a second one replaces the first. `arrived` must not throw.
void OnGradient(const at::Tensor& leaf, std::function<void()> arrived);
void ForgetOnGradient(const at::Tensor& leaf);

}  // namespace whyrec::tensor
