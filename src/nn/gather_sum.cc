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
using Halves = uint16_t __attribute__((vector_size(16), aligned(2), may_alias));
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

WR_INLINE void Load(const float* from, Floats& out) {
  out = *reinterpret_cast<const Floats*>(from);
}
WR_INLINE void Load(const double* from, Doubles& out) {
  out = *reinterpret_cast<const Doubles*>(from);
}
WR_INLINE void Load(const BFloat16* from, Floats& out) {
  const Words words = __builtin_convertvector(*reinterpret_cast<const Halves*>(from), Words) << 16;
  out = reinterpret_cast<const Floats&>(words);
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

// sums[0 .. 8 vectors) over entries [begin, end): the sums stay in registers.
template <bool kValues, typename Source, typename T>
WR_INLINE void SumWide(const Csr& a, int64_t begin, int64_t end, const Source* source,
                       int64_t stride, T* sums) {
  using V = typename VectorOf<T>::Type;
  constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  V s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
  for (int64_t k = begin; k < end; ++k) {
    const Source* row = source + a.indices[static_cast<size_t>(k)] * stride;
    V x0, x1, x2, x3, x4, x5, x6, x7;
    Load(row, x0), Load(row + kLanes, x1), Load(row + 2 * kLanes, x2), Load(row + 3 * kLanes, x3);
    row += 4 * kLanes;
    Load(row, x4), Load(row + kLanes, x5), Load(row + 2 * kLanes, x6), Load(row + 3 * kLanes, x7);
    if constexpr (kValues) {
      const auto value = static_cast<T>(a.values[static_cast<size_t>(k)]);
      x0 *= value, x1 *= value, x2 *= value, x3 *= value;
      x4 *= value, x5 *= value, x6 *= value, x7 *= value;
    }
    s0 += x0, s1 += x1, s2 += x2, s3 += x3, s4 += x4, s5 += x5, s6 += x6, s7 += x7;
  }
  auto* out = reinterpret_cast<V*>(sums);
  out[0] = s0, out[1] = s1, out[2] = s2, out[3] = s3, out[4] = s4, out[5] = s5, out[6] = s6;
  out[7] = s7;
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
    for (int64_t column = 0; column < g.source.width; column += kBlock) {
      const int64_t width = std::min(kBlock, g.source.width - column);
      const Source* source = g.source.data + column;
      if (width == kBlock)
        SumWide<kValues>(*g.matrix, from, to, source, g.source.stride, sums);
      else
        SumNarrow<kValues>(*g.matrix, from, to, source, g.source.stride, width, sums);
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
