// Counter-based random numbers keyed by (seed, purpose, epoch, sample): a draw depends on nothing
// else, so it is the same for any number of ranks and any order of work.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace whyrec {

// SplitMix64's output function: a bijection of 64 bits with full avalanche.
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class Rng {
 public:
  Rng(uint64_t seed, std::string_view purpose, uint64_t epoch = 0, uint64_t sample = 0);

  uint64_t Next() { return Mix(key_ + 0x9e3779b97f4a7c15ULL * ++counter_); }
  uint64_t Below(uint64_t n);                   // uniform on 0..n-1, unbiased
  int64_t Between(int64_t low, int64_t high) {  // uniform on low..high, both included
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low + 1)));
  }
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }  // [0, 1)
  double Normal();                                                          // N(0, 1)
  void FillNormal(std::span<float> out, double stddev);

  template <typename T>
  void Shuffle(std::vector<T>& values) {  // Fisher-Yates, tail to head
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Below(i)]);
  }
  std::vector<int64_t> Permutation(int64_t n);  // of 0..n-1

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace whyrec
