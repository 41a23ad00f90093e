// Callbacks that run when a backward pass has accumulated a parameter's gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace whyrec::tensor {

// Calls `arrived` whenever a backward pass has added to leaf.grad(), on the thread that runs the
// pass: once per pass however often the leaf is used, and once for each nested pass (recomputed
// layers). A leaf has one hook; a second replaces the first. `arrived` must not throw.
void OnGradient(const at::Tensor& leaf, std::function<void()> arrived);
void ForgetOnGradient(const at::Tensor& leaf);

}  // namespace whyrec::tensor
