// Noise against the distribution it stands for, its kernel against general operators, and its
// independence of how rows are cut.
#include "src/nn/noise.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "src/nn/numeric.h"

namespace whyrec::nn {
namespace {

at::Tensor Noise(uint64_t seed, int64_t step, int64_t layer, int64_t rows, int64_t columns) {
  return Uniform(NoiseKeys(seed, step, 0, rows, at::kCPU).At(layer), columns, at::kDouble);
}

TEST(Uniform, OperatorsGiveTheSameBits) {
  for (const int64_t columns : {1, 7, 64, 100}) {
    const RowKeys keys = NoiseKeys(5, 3, 0, 50, at::kCPU).At(2);
    for (const auto type : {at::kFloat, at::kDouble})
      EXPECT_TRUE(Uniform(keys, columns, type).equal(UniformByOperators(keys, columns, type)));
    EXPECT_TRUE(Uniform(keys, columns, at::kFloat)
                    .to(at::kDouble)
                    .equal(Uniform(keys, columns, at::kDouble)));
  }
}

// A row's numbers are those of its number in the whole table.
TEST(Uniform, PartsOfTheRowsAreRowsOfTheWhole) {
  const at::Tensor whole = Noise(7, 11, 1, 40, 9);
  const auto part = [](const RowKeys& keys) { return Uniform(keys.At(1), 9, at::kDouble); };
  const at::Tensor cut =
      at::cat({part(NoiseKeys(7, 11, 0, 13, at::kCPU)), part(NoiseKeys(7, 11, 13, 27, at::kCPU))});
  EXPECT_TRUE(cut.equal(whole));
  const std::vector<int64_t> some = {39, 4, 4, 17};
  EXPECT_TRUE(part(NoiseKeys(7, 11, some, at::kCPU))
                  .equal(whole.index_select(0, at::tensor(some, at::kLong))));
}

TEST(Uniform, DoesNotDependOnThreads) {
  SetThreads(1);
  const at::Tensor one = Noise(1, 2, 3, 1001, 33);
  SetThreads(3);
  EXPECT_TRUE(Noise(1, 2, 3, 1001, 33).equal(one));
  SetThreads(1);
}

// 2 million numbers: mean and variance within 4 standard deviations, and a chi-square of 64 bins
// (63 degrees of freedom: 63 +- 4 sqrt(126)).
TEST(Uniform, IsUniform) {
  const at::Tensor u = Noise(3, 0, 1, 20000, 100);
  const double n = 2e6;
  EXPECT_GE(u.min().item<double>(), 0);
  EXPECT_LT(u.max().item<double>(), 1);
  EXPECT_NEAR(u.mean().item<double>(), 0.5, 4 * std::sqrt(1 / 12.0 / n));
  EXPECT_NEAR((u - 0.5).square().mean().item<double>(), 1 / 12.0, 4 * std::sqrt(1 / 180.0 / n));
  std::array<double, 64> counts{};
  for (int64_t i = 0; i < u.numel(); ++i)
    ++counts[static_cast<size_t>(u.const_data_ptr<double>()[i] * 64)];
  double chi = 0;
  for (const double count : counts) chi += (count - n / 64) * (count - n / 64) / (n / 64);
  EXPECT_LT(std::abs(chi - 63), 4 * std::sqrt(126.0));
}

// Neighbouring rows, columns, layers, steps and seeds do not correlate.
TEST(Uniform, NeighboursAreIndependent) {
  const at::Tensor u = Noise(3, 10, 1, 1000, 100) - 0.5;
  const auto expect = [](const at::Tensor& a, const at::Tensor& b, const char* what) {
    const auto n = static_cast<double>(a.numel());
    EXPECT_LT(std::abs((a * b).sum().item<double>()), 4 * std::sqrt(n) / 12) << what;
  };
  expect(u.slice(0, 1), u.slice(0, 0, -1), "rows");
  expect(u.slice(1, 1), u.slice(1, 0, -1), "columns");
  expect(u, Noise(3, 10, 2, 1000, 100) - 0.5, "layers");
  expect(u, Noise(3, 11, 1, 1000, 100) - 0.5, "steps");
  expect(u, Noise(4, 10, 1, 1000, 100) - 0.5, "seeds");
}

// A row moves by eps, away from 0 in each coordinate; a zero stays.
TEST(Perturb, MovesRowsByEpsWithinTheirOrthant) {
  at::Tensor x = at::randn({30, 8}, at::kDouble);
  const at::Tensor u = Noise(1, 0, 1, 30, 8);
  const at::Tensor moved = Perturb(x, u, 0.2) - x;
  const at::Tensor lengths = at::linalg_vector_norm(moved, 2, {1});
  EXPECT_LT((lengths - 0.2).abs().max().item<double>(), 1e-12);
  EXPECT_GE((moved * x).min().item<double>(), 0);
  const at::Tensor along = u * (0.2 / at::linalg_vector_norm(u, 2, {1}, /*keepdim=*/true));
  EXPECT_LT((moved.abs() - along).abs().max().item<double>(), 1e-12);
  x.select(0, 4).zero_();
  EXPECT_EQ(Perturb(x, u, 0.2)[4].abs().sum().item<double>(), 0);
}

TEST(Perturb, GradientsPassUnchanged) {
  const at::Tensor u = Noise(1, 0, 1, 5, 3), weights = at::randn({5, 3}, at::kDouble);
  const at::Tensor x = at::randn({5, 3}, at::kDouble).set_requires_grad(true);
  (Perturb(x, u, 0.2) * weights).sum().backward();
  EXPECT_TRUE(x.grad().equal(weights));
}

}  // namespace
}  // namespace whyrec::nn
