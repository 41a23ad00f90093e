// Random bits of elements (row, column) of a tensor, as functions of their row's key, a place in
// the network and their column: a 32-bit hash, the same on every device. What dropout and noise
// draw.
#pragma once

#include <cstdint>

#include "src/base/rng.h"
#include "src/nn/at.h"

namespace whyrec::nn {

constexpr uint32_t kColumn = 0x9e3779b9;  // sets columns apart: odd, the golden ratio of 2^32

// A bijection of 32 bits with full avalanche. Shifts and factors: hash-prospector's "lowbias32"
// (C. Wellons, public domain) with the better constants found later.
constexpr int kMixShifts[] = {16, 15, 15};
constexpr uint32_t kMixFactors[] = {0x21f0aaad, 0xd35a2d97};

[[gnu::always_inline]] constexpr uint32_t Mix32(uint32_t x) {
  x = (x ^ (x >> kMixShifts[0])) * kMixFactors[0];
  x = (x ^ (x >> kMixShifts[1])) * kMixFactors[1];
  return x ^ (x >> kMixShifts[2]);
}

// The key of a row by its number within a 64-bit random stream.
constexpr uint32_t RowKey(uint64_t stream, int64_t row) {
  return static_cast<uint32_t>(
      Mix(stream + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(row + 1)));
}

// For kernels: the hash of an element is ElementHash(RowHash(key, site), column).
[[gnu::always_inline]] constexpr uint32_t RowHash(uint32_t key, uint32_t site) {
  return Mix32(key + site);
}
[[gnu::always_inline]] constexpr uint32_t ElementHash(uint32_t row_hash, int64_t column) {
  return Mix32(row_hash + static_cast<uint32_t>(column) * kColumn);
}

// The same from LibTorch operators that every device has: keys i32 [..] -> i32 [.., columns], which
// stand for unsigned numbers.
at::Tensor ElementHashes(const at::Tensor& keys, uint32_t site, int64_t columns);

}  // namespace whyrec::nn
