// How far a result may be from a reference's in a golden file.
//
// In fp64 1e-9 of the largest entry, or of 1: every order of the same sums is far within that.
//
// In fp32 a number read off one CPU will not do: kernels differ in the order of their sums and in
// what they fuse, and a network enlarges that by as much as its weights happen to. The reference
// says by how much: golden/rounding.py has it compute in fp32 what it computed in fp64, once as it
// is and several times with every parameter moved by one unit in the last place, and stores the
// largest difference of each tensor. Another sound implementation on another CPU is one more draw
// of the same kind. It gets
//   kFactor = 4: two such draws lie apart by at most twice the largest (that is what is compared
//     where the golden result itself is in fp32), and a CPU may round twice as much as the one that
//     ran the script;
//   kEpsilon = 2^-21 of the largest entry, eight roundings: where the reference happens to be
//   exact.
// A fault is orders of magnitude larger, or shows in fp64.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec {

// Of an absolute difference in fp32 from `name`, whose largest entry is `largest`.
inline double Fp32Bound(const store::TensorMap& golden, const std::string& name, double largest) {
  constexpr double kFactor = 4, kEpsilon = 0x1p-21;
  return kFactor * golden.at(name + ".rounding").values<double>()[0] + kEpsilon * largest;
}

// The largest difference from `name` as a share of its bound: 1 and more is a failure. `got` says
// which bound by its type; `fp64` is the one of fp64.
inline double ShareOfBound(const at::Tensor& got, const store::TensorMap& golden,
                           const std::string& name, double fp64 = 1e-9) {
  const at::Tensor want = tensor::View(golden.at(name)).to(at::kDouble);
  EXPECT_EQ(got.sizes(), want.sizes()) << name;
  const double apart = (got.detach().to(at::kDouble) - want).abs().max().item<double>();
  const double largest = want.abs().max().item<double>();
  return apart / (got.scalar_type() == at::kDouble ? fp64 * std::max(1.0, largest)
                                                   : Fp32Bound(golden, name, largest));
}

}  // namespace whyrec
