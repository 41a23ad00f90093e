#include "src/decode/log_sum_exp.h"

#include <bit>
#include <cmath>
#include <limits>

#include "src/decode/lanes.h"

namespace whyrec::decode {
namespace {

constexpr int64_t kBlock = 64 * kLanes;  // floats are summed within a block only
// exp of x <= 0 as 2^n * exp(r), |r| <= log(2) / 2, exp(r) by its series; 2e-7 relative. NaN stays.
inline Floats ExpOfNegative(Floats x) {
  constexpr float kToInteger = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  x = x < -87.0F ? Floats{} - 87.0F : x;
  const Floats shifted = x * 1.44269504F + kToInteger, n = shifted - kToInteger;
  const Floats r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // log(2) in two parts
  Floats series = r * (1.0F / 5040) + 1.0F / 720;
  series = series * r + 1.0F / 120;
  series = series * r + 1.0F / 24;
  series = series * r + 1.0F / 6;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  series = series * r + 1.0F;
  const Bits exponent = std::bit_cast<Bits>(shifted) - std::bit_cast<uint32_t>(kToInteger) + 127U;
  return series * std::bit_cast<Floats>(exponent << 23);
}

template <typename T>
float Largest(const T* row, int64_t n) {
  Floats best = Floats{} - std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Floats x = Read(row + i);
    best = x > best ? x : best;
  }
  float largest = best[0];
  for (int64_t l = 1; l < kLanes; ++l) largest = std::fmax(largest, best[l]);
  for (; i < n; ++i) largest = std::fmax(largest, static_cast<float>(row[i]));
  return largest;
}

}  // namespace

template <typename T>
double LogSumExp(const T* row, int64_t n, double temperature) {
  const auto scale = static_cast<float>(1 / temperature);
  const float largest = Largest(row, n);
  double total = 0;
  int64_t i = 0;
  while (i + kLanes <= n) {
    Floats sums = {};
    for (const int64_t end = i + kBlock; i < end && i + kLanes <= n; i += kLanes) {
      sums += ExpOfNegative((Read(row + i) - largest) * scale);
    }
    for (int64_t l = 0; l < kLanes; ++l) total += sums[l];
  }
  for (; i < n; ++i) total += std::exp((static_cast<float>(row[i]) - largest) * scale);
  return largest / temperature + std::log(total);
}

template double LogSumExp(const float* row, int64_t n, double temperature);
template double LogSumExp(const c10::BFloat16* row, int64_t n, double temperature);

}  // namespace whyrec::decode
