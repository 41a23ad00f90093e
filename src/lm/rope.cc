#include "src/lm/rope.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "src/base/error.h"

namespace whyrec::lm {

// In fp32 throughout, as the reference does: at position 100,000 a last bit is a visible angle.
at::Tensor InverseFrequencies(int64_t rotary, double theta, const std::vector<double>& factors) {
  WR_CHECK(factors.empty() || static_cast<int64_t>(factors.size()) == rotary / 2, factors.size(),
           " factors for ", rotary, " rotated entries");
  const at::Tensor exponents = at::arange(0, rotary, 2).to(at::kFloat) / rotary;
  const at::Tensor wavelengths = at::pow(theta, exponents);
  if (factors.empty()) return wavelengths.reciprocal();
  return (at::tensor(factors).to(at::kFloat) * wavelengths).reciprocal();
}

double LongRopeMagnitude(int64_t positions, int64_t original) {
  if (positions <= original) return 1;
  const auto grown = static_cast<double>(positions) / static_cast<double>(original);
  return std::sqrt(1 + std::log(grown) / std::log(static_cast<double>(original)));
}

Rotation MakeRotation(const at::Tensor& positions, const at::Tensor& inverse_frequencies,
                      double magnitude, at::ScalarType dtype) {
  const at::Tensor angles =
      positions.to(inverse_frequencies.device()).to(at::kFloat).unsqueeze(1) * inverse_frequencies;
  return {(angles.cos() * magnitude).to(dtype).unsqueeze(1),
          (angles.sin() * magnitude).to(dtype).unsqueeze(1)};
}

at::Tensor Rotate(const at::Tensor& x, const Rotation& rotation) {
  const int64_t half = rotation.cos.size(-1), rest = x.size(-1) - 2 * half;
  const at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
  return at::cat({first * rotation.cos - second * rotation.sin,
                  second * rotation.cos + first * rotation.sin, x.narrow(-1, 2 * half, rest)},
                 -1);
}

}  // namespace whyrec::lm
