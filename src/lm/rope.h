// Rotary position embedding with LongRoPE's factors (Ding et al. 2024): half-split
// rotation of the first `rotary` entries of a head, angles in fp32.
#pragma once

#include <cstdint>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::lm {

// 1 / (f_j theta^(2j / rotary)), j < rotary/2, fp32; no factors: all 1.
at::Tensor InverseFrequencies(int64_t rotary, double theta, const std::vector<double>& factors);

// LongRoPE's multiplier of cos and sin: sqrt(1 + ln(positions / original) / ln(original)), 1 where
// the context was not extended.
double LongRopeMagnitude(int64_t positions, int64_t original);

struct Rotation {
  at::Tensor cos, sin;  // [N,1,rotary/2]
};
// positions i64 [N]; the numbers are made in fp32 and cast to `dtype`.
Rotation MakeRotation(const at::Tensor& positions, const at::Tensor& inverse_frequencies,
                      double magnitude, at::ScalarType dtype);

// x [N,heads,dk]; entries from `rotary` on pass through.
at::Tensor Rotate(const at::Tensor& x, const Rotation& rotation);

}  // namespace whyrec::lm
