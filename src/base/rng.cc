#include "src/base/rng.h"

#include <cmath>
#include <numbers>
#include <numeric>

namespace whyrec {

Rng::Rng(uint64_t seed, std::string_view purpose, uint64_t epoch, uint64_t sample) {
  uint64_t name = 0xcbf29ce484222325ULL;  // FNV-1a
  for (unsigned char c : purpose) name = (name ^ c) * 0x100000001b3ULL;
  key_ = Mix(seed + 0x9e3779b97f4a7c15ULL);
  for (uint64_t part : {name, epoch, sample}) key_ = Mix(key_ ^ Mix(part + 0x9e3779b97f4a7c15ULL));
}

uint64_t Rng::Below(uint64_t n) {
  const uint64_t limit = -n % n;  // values below it would favour small results
  uint64_t x = Next();
  while (x < limit) x = Next();
  return x % n;
}

double Rng::Normal() {  // Box-Muller, one of the pair
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

void Rng::FillNormal(std::span<float> out, double stddev) {
  for (float& x : out) x = static_cast<float>(Normal() * stddev);
}

std::vector<int64_t> Rng::Permutation(int64_t n) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  Shuffle(out);
  return out;
}

}  // namespace whyrec
