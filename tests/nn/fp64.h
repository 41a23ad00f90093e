// What tests of losses in fp64 share.
#pragma once

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace whyrec {

// LibTorch draws another seed in each process. A maximum has no slope where its arguments meet, and
// in one run of many the step of a difference would cross such a place.
inline const bool kSeeded = (at::manual_seed(7), true);

using Tensors = std::vector<at::Tensor>;

inline at::Tensor Normal(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
inline double Value(const at::Tensor& scalar) { return scalar.item<double>(); }

// Largest difference between the gradients of a scalar loss(inputs) and its central differences,
// over all elements of all inputs, which are fp64.
inline double GradientError(const std::function<at::Tensor(const Tensors&)>& loss,
                            const Tensors& inputs) {
  constexpr double kStep = 1e-5;
  Tensors leaves, moved;
  for (const at::Tensor& x : inputs) {
    leaves.push_back(x.detach().clone().set_requires_grad(true));
    moved.push_back(x.detach().clone());
  }
  loss(leaves).backward();
  double worst = 0;
  for (size_t k = 0; k < moved.size(); ++k)
    for (int64_t i = 0; i < moved[k].numel(); ++i) {
      double& value = moved[k].data_ptr<double>()[i];
      const auto at = [&, before = value](double step) {
        value = before + step;
        const double got = Value(loss(moved));
        value = before;
        return got;
      };
      const double slope = (at(kStep) - at(-kStep)) / (2 * kStep);
      const at::Tensor& grad = leaves[k].grad();  // undefined where the loss does not read an input
      const double got = grad.defined() ? grad.flatten()[i].item<double>() : 0;
      worst = std::max(worst, std::abs(got - slope));
    }
  return worst;
}

}  // namespace whyrec
