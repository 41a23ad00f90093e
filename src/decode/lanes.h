// Four logits at a time, for our own passes over rows of a vocabulary. Vectors of the compiler's,
// so that no library or instruction set is asked for.
#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace whyrec::decode {

constexpr int64_t kLanes = 4;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Bits = uint32_t __attribute__((vector_size(kLanes * sizeof(float))));

inline Floats Read(const float* from) {
  Floats out;
  std::memcpy(&out, from, sizeof(out));
  return out;
}

inline Floats Read(const c10::BFloat16* from) {
  uint16_t __attribute__((vector_size(kLanes * sizeof(uint16_t)))) upper;  // halves of floats
  std::memcpy(&upper, from, sizeof(upper));
  return std::bit_cast<Floats>(__builtin_convertvector(upper, Bits) << 16);
}

}  // namespace whyrec::decode
