#include "src/nn/dropout.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/nn/row_hash.h"
#include "src/tensor/linear_map.h"
#include "src/tensor/parallel.h"

namespace whyrec::nn {
namespace {

// Compiled for several vector widths; the program picks at start-up.
#define WR_VECTORISED \
  __attribute__((optimize("O3"), target_clones("avx512f", "avx2,fma", "default")))

// Odd numbers that set apart heads and places: fractions of 2^32.
constexpr uint32_t kHead = 0xb504f333;   // sqrt 1/2
constexpr uint32_t kPlace = 0xddb3d743;  // sqrt 3/4

// Values whose hash is below `limit` are dropped, the others scaled.
struct Rule {
  explicit Rule(double p)
      : limit(static_cast<uint32_t>(std::min(std::ldexp(p, 32), std::ldexp(1, 32) - 1))),
        scale(p < 1 ? 1 / (1 - p) : 0) {
    WR_CHECK(p > 0 && p <= 1, "probability ", p);
  }
  uint32_t limit;
  double scale;
};

// Rows [begin, end) of c values. The hash of an element becomes a mask of all ones or all zeros.
struct Rows {
  const uint32_t* keys;
  uint32_t site;
  int64_t begin, end, c;
};

WR_VECTORISED void Drop(const Rows& rows, uint32_t limit, float scale, const float* __restrict x,
                        float* __restrict y) {
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const uint32_t row = RowHash(rows.keys[i], rows.site);
    const float* from = x + i * rows.c;
    float* to = y + i * rows.c;
    for (int64_t j = 0; j < rows.c; ++j) {
      const uint32_t kept = -uint32_t{ElementHash(row, j) >= limit};
      to[j] = std::bit_cast<float>(std::bit_cast<uint32_t>(from[j] * scale) & kept);
    }
  }
}

WR_VECTORISED void Drop(const Rows& rows, uint32_t limit, double scale, const double* __restrict x,
                        double* __restrict y) {
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const uint32_t row = RowHash(rows.keys[i], rows.site);
    const double* from = x + i * rows.c;
    double* to = y + i * rows.c;
    for (int64_t j = 0; j < rows.c; ++j) {
      const uint64_t kept = -uint64_t{ElementHash(row, j) >= limit};
      to[j] = std::bit_cast<double>(std::bit_cast<uint64_t>(from[j] * scale) & kept);
    }
  }
}

// bf16 is the upper half of fp32; products are rounded to the nearest, ties to even.
WR_VECTORISED void Drop(const Rows& rows, uint32_t limit, float scale,
                        const at::BFloat16* __restrict x, at::BFloat16* __restrict y) {
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const uint32_t row = RowHash(rows.keys[i], rows.site);
    const at::BFloat16* from = x + i * rows.c;
    at::BFloat16* to = y + i * rows.c;
    for (int64_t j = 0; j < rows.c; ++j) {
      const uint32_t kept = -uint32_t{ElementHash(row, j) >= limit};
      const auto wide =
          std::bit_cast<uint32_t>(std::bit_cast<float>(uint32_t{from[j].x} << 16) * scale);
      to[j].x = static_cast<uint16_t>(((wide + 0x7fff + (wide >> 16 & 1)) >> 16) & kept);
    }
  }
}

template <typename T, typename Wide = T>
at::Tensor DropOnCpu(const at::Tensor& x, const Rule& rule, const RowKeys& keys) {
  constexpr int64_t kMany = 1 << 17;  // values worth threads
  const at::Tensor from = x.contiguous(), rows = keys.rows().contiguous();
  at::Tensor out = at::empty_like(from);
  const auto* hashes = reinterpret_cast<const uint32_t*>(rows.const_data_ptr<int32_t>());
  const auto drop = [&, in = from.const_data_ptr<T>(), to = out.mutable_data_ptr<T>()](
                        int64_t begin, int64_t end) {
    Drop({hashes, keys.site(), begin, end, x.size(-1)}, rule.limit, static_cast<Wide>(rule.scale),
         in, to);
  };
  if (x.numel() < kMany)
    drop(0, rows.numel());
  else
    tensor::ParallelFor(rows.numel(), drop);
  return out;
}

at::Tensor Drop(const at::Tensor& x, double p, const RowKeys& keys) {
  if (x.is_cpu()) switch (x.scalar_type()) {
      case at::kFloat:
        return DropOnCpu<float>(x, Rule(p), keys);
      case at::kDouble:
        return DropOnCpu<double>(x, Rule(p), keys);
      case at::kBFloat16:
        return DropOnCpu<at::BFloat16, float>(x, Rule(p), keys);
      default:
        break;
    }
  return DropoutByOperators(x, p, keys);
}

}  // namespace

Draws DrawsOf(uint64_t seed, int64_t step, std::span<const int64_t> places) {
  Draws draws;
  for (const int64_t i : places)
    draws.samples.push_back(
        Rng(seed, "dropout", static_cast<uint64_t>(step), static_cast<uint64_t>(i)).Next());
  return draws;
}

Draws DrawsOf(uint64_t seed, int64_t step, int64_t first, int64_t count) {
  std::vector<int64_t> places(static_cast<size_t>(count));
  std::iota(places.begin(), places.end(), first);
  return DrawsOf(seed, step, places);
}

RowKeys RowKeys::At(int64_t place) const {
  RowKeys out = *this;
  out.site_ = Mix32(site_ + static_cast<uint32_t>(place) * kPlace + kColumn);
  return out;
}

RowKeys RowKeys::With(const at::Tensor& rows) const {
  RowKeys out = *this;
  out.rows_ = rows;
  return out;
}

RowKeys RowKeys::Heads(int64_t heads) const {
  if (!defined()) return {};
  const at::Tensor numbers = at::arange(heads, rows_.options()) * static_cast<int32_t>(kHead);
  return With(rows_.unsqueeze(1) + numbers.unsqueeze(1));
}

RowKeys KeysOf(const Draws& draws, std::string_view network, std::span<const RowRun> runs,
               at::Device device) {
  if (draws.samples.empty()) return {};
  std::vector<uint64_t> streams;
  for (const uint64_t sample : draws.samples) streams.push_back(Rng(sample, network).Next());
  std::vector<int64_t> next(streams.size(), 0);  // row of each sample
  std::vector<int32_t> keys;
  for (const RowRun& run : runs) {
    const auto s = static_cast<size_t>(run.sample);
    WR_CHECK(s < streams.size(), "sample ", run.sample, " of ", streams.size());
    for (int64_t i = 0; i < run.rows; ++i)
      keys.push_back(static_cast<int32_t>(RowKey(streams[s], next[s]++)));
  }
  return RowKeys(at::tensor(keys, at::kInt).to(device));
}

RowKeys KeysOf(const Draws& draws, std::string_view network, int64_t rows, at::Device device) {
  std::vector<RowRun> runs;
  for (int64_t s = 0; s < std::ssize(draws.samples); ++s) runs.push_back({s, rows});
  const RowKeys keys = KeysOf(draws, network, runs, device);
  return keys.defined() ? keys.With(keys.rows().view({-1, rows})) : keys;
}

at::Tensor DropoutByOperators(const at::Tensor& x, double p, const RowKeys& keys) {
  const Rule rule(p);
  // Signed numbers order as unsigned ones do once the highest bit is turned.
  const at::Tensor hashes = ElementHashes(keys.rows(), keys.site(), x.size(-1))
                                .bitwise_xor_(static_cast<int32_t>(1U << 31));
  const auto limit = static_cast<int32_t>(rule.limit ^ (1U << 31));
  return (x * rule.scale).masked_fill_(hashes.lt(limit), 0);
}

at::Tensor Dropout(const at::Tensor& x, double p, const RowKeys& keys) {
  if (p == 0 || !keys.defined()) return x;
  WR_CHECK(x.sizes().slice(0, static_cast<size_t>(x.dim() - 1)) == keys.rows().sizes(),
           "values of shape ", x.sizes(), ", keys of shape ", keys.rows().sizes());
  const auto drop = [p, keys](const at::Tensor& v) { return Drop(v, p, keys); };
  if (!c10::GradMode::is_enabled() || !x.requires_grad()) return drop(x);
  return tensor::ApplyLinear(x, drop, drop);
}

}  // namespace whyrec::nn
