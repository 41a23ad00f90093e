// How far apart two results are.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace whyrec {

// Largest difference, relative to the largest entry or 1.
inline double Difference(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  const at::Tensor wanted = want.detach().to(at::kCPU, at::kDouble);
  const at::Tensor difference = (got.detach().to(at::kCPU, at::kDouble) - wanted).abs().max();
  return difference.item<double>() / std::max(1.0, wanted.abs().max().item<double>());
}

}  // namespace whyrec
