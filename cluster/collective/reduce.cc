#include "cluster/collective/reduce.h"

#include <algorithm>
#include <array>
#include <bit>

namespace whyrec::cluster {
namespace {

struct BFloat16 {
  BFloat16() = default;
  explicit BFloat16(float value) {
    const auto b = std::bit_cast<uint32_t>(value);
    const bool nan = value != value;
    // Half of the last kept bit, less one where that bit is even; a NaN's low bits may be its only
    // ones.
    bits = static_cast<uint16_t>(nan ? b >> 16 | 0x40 : (b + 0x7fff + (b >> 16 & 1)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
  uint16_t bits;
};

// Block by block through a small buffer, so that `into` may be any of `from`.
template <typename T, typename Sum>
void ReduceAs(void* into, std::span<const void* const> from, int64_t count, Reduce op) {
  std::array<Sum, 2048> block;
  for (int64_t at = 0; at < count; at += std::ssize(block)) {
    const int64_t n = std::min<int64_t>(std::ssize(block), count - at);
    Sum* a = block.data();
    const T* first = static_cast<const T*>(from[0]) + at;
    for (int64_t i = 0; i < n; ++i) a[i] = static_cast<Sum>(first[i]);
    for (const void* more : from.subspan(1)) {
      const T* b = static_cast<const T*>(more) + at;
      if (op == Reduce::kSum) {
        for (int64_t i = 0; i < n; ++i) a[i] += static_cast<Sum>(b[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) {
          const Sum x = static_cast<Sum>(b[i]);
          a[i] = x > a[i] || x != x ? x : a[i];
        }
      }
    }
    T* out = static_cast<T*>(into) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(a[i]);
  }
}

}  // namespace

void CheckReducible(DType dtype) {
  if (dtype == DType::kI32 || dtype == DType::kU8)
    Fail(Exit::kInternal, "AllReduce takes F32, F64, I64, BF16 and F16, not ", NameOf(dtype));
}

void ReduceInOrder(void* into, std::span<const void* const> from, int64_t count, DType dtype,
                   Reduce op) {
  CheckReducible(dtype);
  switch (dtype) {
    case DType::kF32:
      return ReduceAs<float, float>(into, from, count, op);
    case DType::kF64:
      return ReduceAs<double, double>(into, from, count, op);
    case DType::kI64:
      return ReduceAs<int64_t, int64_t>(into, from, count, op);
    case DType::kBF16:
      return ReduceAs<BFloat16, float>(into, from, count, op);
    default:
      return ReduceAs<_Float16, float>(into, from, count, op);
  }
}

}  // namespace whyrec::cluster
