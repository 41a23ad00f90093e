#include "src/nn/gather_sum.h"

#include <algorithm>
#include <bit>

#include "src/tensor/vectorised.h"

namespace whyrec::nn {
namespace {

#define WR_INLINE inline __attribute__((always_inline))

// Eight floats or four doubles; compilers split them where a CPU has shorter vectors.
using Floats = float __attribute__((vector_size(32), aligned(4), may_alias));
using Doubles = double __attribute__((vector_size(32), aligned(8), may_alias));
using Words = uint32_t __attribute__((vector_size(32), aligned(4), may_alias));

WR_INLINE float Value(float x) { return x; }
WR_INLINE double Value(double x) { return x; }
WR_INLINE float Value(BFloat16 x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }

WR_INLINE void Store(float x, float& out) { out = x; }
WR_INLINE void Store(double x, double& out) { out = x; }
WR_INLINE void Store(float x, BFloat16& out) {  // to nearest, ties to even
  const auto bits = std::bit_cast<uint32_t>(x);
  out.bits = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = Floats;
};
template <>
struct VectorOf<double> {
  using Type = Doubles;
};

// Most rows are short, so the CPU waits for the first lines of the next row, unless they are asked
// for early: those of entry k + kAhead.
template <int kLines, typename Source>
WR_INLINE void Prefetch(const Csr& a, int64_t k, const Source* source, int64_t stride) {
  constexpr int64_t kAhead = 8;
  const auto next = static_cast<size_t>(std::min(k + kAhead, a.entries() - 1));
  const auto* row = reinterpret_cast<const char*>(source + a.indices[next] * stride);
#pragma GCC unroll 4
  for (int line = 0; line < kLines; ++line) __builtin_prefetch(row + 64 * line);
}

// sums[0 .. kVectors vectors) over entries [begin, end): the sums stay in registers.
template <int kVectors, bool kValues, typename T>
WR_INLINE void SumWide(const Csr& a, int64_t begin, int64_t end, const T* source, int64_t stride,
                       T* sums) {
  using V = typename VectorOf<T>::Type;
  V sum[kVectors] = {};
  for (int64_t k = begin; k < end; ++k) {
    Prefetch<kVectors / 2>(a, k, source, stride);
    const auto* row =
        reinterpret_cast<const V*>(source + a.indices[static_cast<size_t>(k)] * stride);
    const T value = kValues ? static_cast<T>(a.values[static_cast<size_t>(k)]) : T(1);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) sum[i] += kValues ? row[i] * value : row[i];
  }
  for (int i = 0; i < kVectors; ++i) reinterpret_cast<V*>(sums)[i] = sum[i];
}

// The same from bf16: a word holds an even column in its lower half and an odd one in its upper.
template <int kVectors, bool kValues>
WR_INLINE void SumWide(const Csr& a, int64_t begin, int64_t end, const BFloat16* source,
                       int64_t stride, float* sums) {
  constexpr int kPairs = kVectors / 2;
  Floats even[kPairs] = {}, odd[kPairs] = {};
  for (int64_t k = begin; k < end; ++k) {
    Prefetch<kVectors / 4>(a, k, source, stride);
    const auto* row =
        reinterpret_cast<const Words*>(source + a.indices[static_cast<size_t>(k)] * stride);
    const float value = kValues ? a.values[static_cast<size_t>(k)] : 1.0f;
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) {
      const Words low = row[i] << 16, high = row[i] & 0xffff0000u;
      Floats x = reinterpret_cast<const Floats&>(low), y = reinterpret_cast<const Floats&>(high);
      if constexpr (kValues) x *= value, y *= value;
      even[i] += x, odd[i] += y;
    }
  }
  for (int i = 0; i < kPairs; ++i)
    for (int lane = 0; lane < 8; ++lane) {
      sums[16 * i + 2 * lane] = even[i][lane];
      sums[16 * i + 2 * lane + 1] = odd[i][lane];
    }
}

// The last columns, fewer than a block.
template <bool kValues, typename Source, typename T>
WR_INLINE void SumNarrow(const Csr& a, int64_t begin, int64_t end, const Source* source,
                         int64_t stride, int64_t width, T* __restrict sums) {
  std::fill_n(sums, width, T(0));
  for (int64_t k = begin; k < end; ++k) {
    const Source* __restrict row = source + a.indices[static_cast<size_t>(k)] * stride;
    const T value = kValues ? static_cast<T>(a.values[static_cast<size_t>(k)]) : T(1);
    for (int64_t j = 0; j < width; ++j) sums[j] += kValues ? value * Value(row[j]) : Value(row[j]);
  }
}

template <bool kValues, typename Source, typename T, typename Out>
WR_INLINE void RunRows(const GatherSum<Source, T, Out>& g, int64_t begin, int64_t end) {
  constexpr int64_t kBlock = 8 * 32 / sizeof(T);
  alignas(64) T sums[kBlock];
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = g.matrix->offsets[static_cast<size_t>(row)];
    const int64_t to = g.matrix->offsets[static_cast<size_t>(row) + 1];
    const T before = g.before ? g.before[row] : T(1);
    const T after = (g.after ? g.after[row] : T(1)) * g.factor;
    int64_t width = 0;
    for (int64_t column = 0; column < g.source.width; column += width) {
      const int64_t left = g.source.width - column;
      const Source* source = g.source.data + column;
      if (left >= kBlock) {
        SumWide<8, kValues>(*g.matrix, from, to, source, g.source.stride, sums);
        width = kBlock;
      } else if (left >= kBlock / 2) {
        SumWide<4, kValues>(*g.matrix, from, to, source, g.source.stride, sums);
        width = kBlock / 2;
      } else {
        SumNarrow<kValues>(*g.matrix, from, to, source, g.source.stride, left, sums);
        width = left;
      }
      Out* out = g.out.data + row * g.out.stride + column;
      if (g.add.data) {
        const T* add = g.add.data + row * g.add.stride + column;
        for (int64_t j = 0; j < width; ++j) Store(after * (add[j] + before * sums[j]), out[j]);
      } else {
        for (int64_t j = 0; j < width; ++j) Store(after * (before * sums[j]), out[j]);
      }
    }
  }
}

template <typename Source, typename T, typename Out>
WR_INLINE void RunAny(const GatherSum<Source, T, Out>& g, int64_t begin, int64_t end) {
  if (g.matrix->values.empty())
    RunRows<false>(g, begin, end);
  else
    RunRows<true>(g, begin, end);
}

template <typename In, typename Out>
WR_INLINE void Scale(const Columns<const In>& in, const In* scale, const Columns<Out>& out,
                     int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const In* __restrict from = in.data + row * in.stride;
    Out* __restrict to = out.data + row * out.stride;
    const In factor = scale ? scale[row] : In(1);
    for (int64_t j = 0; j < in.width; ++j) Store(factor * from[j], to[j]);
  }
}

}  // namespace

WR_VECTORISED void Run(const GatherSum<float, float, float>& sum, int64_t begin, int64_t end) {
  RunAny(sum, begin, end);
}
WR_VECTORISED void Run(const GatherSum<double, double, double>& sum, int64_t begin, int64_t end) {
  RunAny(sum, begin, end);
}
WR_VECTORISED void Run(const GatherSum<BFloat16, float, BFloat16>& sum, int64_t begin,
                       int64_t end) {
  RunAny(sum, begin, end);
}
WR_VECTORISED void Run(const GatherSum<BFloat16, float, float>& sum, int64_t begin, int64_t end) {
  RunAny(sum, begin, end);
}

WR_VECTORISED void ScaleRows(const Columns<const float>& in, const float* scale,
                             const Columns<float>& out, int64_t begin, int64_t end) {
  Scale(in, scale, out, begin, end);
}
WR_VECTORISED void ScaleRows(const Columns<const double>& in, const double* scale,
                             const Columns<double>& out, int64_t begin, int64_t end) {
  Scale(in, scale, out, begin, end);
}
WR_VECTORISED void ScaleRows(const Columns<const float>& in, const float* scale,
                             const Columns<BFloat16>& out, int64_t begin, int64_t end) {
  Scale(in, scale, out, begin, end);
}

}  // namespace whyrec::nn
