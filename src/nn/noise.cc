#include "src/nn/noise.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "src/base/rng.h"
#include "src/nn/cosine.h"
#include "src/nn/row_hash.h"
#include "src/tensor/parallel.h"
#include "src/tensor/vectorised.h"

namespace whyrec::nn {
namespace {

// A number on [0, 1) is the upper 24 bits of a hash, which fp32 holds exactly.
constexpr int kLowBits = 8;
constexpr float kUnit = 0x1p-24F;

struct NoiseRows {
  const uint32_t* keys;
  uint32_t site;
  int64_t begin, end, columns;
};

// Rows [begin, end) of `out`.
WR_VECTORISED void Fill(const NoiseRows& rows, float* __restrict out) {
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const uint32_t row = RowHash(rows.keys[i], rows.site);
    float* to = out + i * rows.columns;
    for (int64_t j = 0; j < rows.columns; ++j)
      to[j] = static_cast<float>(static_cast<int32_t>(ElementHash(row, j) >> kLowBits)) * kUnit;
  }
}

}  // namespace

RowKeys NoiseKeys(uint64_t seed, int64_t step, std::span<const int64_t> rows, at::Device device) {
  const uint64_t stream = Rng(seed, "noise", static_cast<uint64_t>(step)).Next();
  std::vector<int32_t> keys(rows.size());
  std::ranges::transform(rows, keys.begin(),
                         [&](int64_t row) { return static_cast<int32_t>(RowKey(stream, row)); });
  return RowKeys(at::tensor(keys, at::kInt).to(device));
}

RowKeys NoiseKeys(uint64_t seed, int64_t step, int64_t first, int64_t count, at::Device device) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  return NoiseKeys(seed, step, rows, device);
}

at::Tensor Uniform(const RowKeys& keys, int64_t columns, at::ScalarType type) {
  if (!keys.rows().is_cpu()) return UniformByOperators(keys, columns, type);
  const at::Tensor rows = keys.rows().contiguous();
  const int64_t count = rows.numel();
  at::Tensor out = at::empty({count, columns}, at::kFloat);
  tensor::ParallelFor(count, [&, from = rows.const_data_ptr<int32_t>(),
                              to = out.mutable_data_ptr<float>()](int64_t begin, int64_t end) {
    Fill({reinterpret_cast<const uint32_t*>(from), keys.site(), begin, end, columns}, to);
  });
  return out.to(type);
}

at::Tensor UniformByOperators(const RowKeys& keys, int64_t columns, at::ScalarType type) {
  const at::Tensor hashes = ElementHashes(keys.rows(), keys.site(), columns);
  const auto upper = static_cast<int32_t>(~0U >> kLowBits);
  return (hashes.__rshift__(kLowBits).bitwise_and_(upper).to(at::kFloat) * kUnit).to(type);
}

at::Tensor Perturb(const at::Tensor& x, const at::Tensor& uniform, double eps) {
  at::Tensor noise;
  {
    c10::NoGradGuard no_grad;
    noise = at::sign(x) * Directions(uniform) * eps;
  }
  return x + noise;
}

}  // namespace whyrec::nn
