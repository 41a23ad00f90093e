// How far a result may be from a reference's in a golden file.
//
// In fp64: 1e-9 of the largest entry, or of 1. Every order of the same sums is far within that.
//
// In fp32 a number read off one CPU will not do: kernels differ in the order of their sums and in
// what they fuse, and a network enlarges that by as much as its weights happen to. The reference
// says by how much. tests/golden/rounding.py has it compute in fp32 what it computed in fp64, once
// as it is and several times with every parameter moved by one unit in the last place, and stores
// the largest difference of each tensor as NAME.rounding. (The first run alone may hit by luck: the
// scalar head of peft came within 3.4e-6 of fp64 on one CPU, its neighbours within 4.8e-5, and
// ours within 1.7e-5 on another CPU.) A sound implementation on any CPU is one more draw of the
// same kind. It gets
//   kFactor = 4 times that: two draws lie apart by up to twice the largest, which is what counts
//     where the golden result itself is in fp32, and a CPU may round twice as much as the script's;
//   kEpsilon = 2^-21 of the largest entry, eight roundings: where the reference happens to be
//   exact.
// What enlarges rounding enlarges faults, too: with 1e-6 for 1e-5 in Phi's norms results of the
// LoRA test lie beyond their bounds by 4, with a scale wrong by 0.03 % by 20.
#pragma once

#include <ATen/TensorOperators.h>
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
  if (apart == 0) return 0;  // of tensors that are all 0, too
  const double largest = want.abs().max().item<double>();
  return apart / (got.scalar_type() == at::kDouble ? fp64 * std::max(1.0, largest)
                                                   : Fp32Bound(golden, name, largest));
}

}  // namespace whyrec
