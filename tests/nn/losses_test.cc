// Losses against closed forms and finite differences.
#include "src/nn/losses.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace whyrec::nn {
namespace {

TEST(CrossEntropySum, CountsPaddingUnlessToldNotTo) {
  // Two tokens with logits (0, log 3): probabilities 1/4 and 3/4.
  const at::Tensor logits =
      at::tensor(std::vector<double>{0, std::log(3.0)}).expand({2, 3, 2}).contiguous();
  const at::Tensor targets = at::tensor(std::vector<int64_t>{1, 1, 0, 1, 0, 0}).view({2, 3});
  const LossSum all = CrossEntropySum(logits, targets, false),
                real = CrossEntropySum(logits, targets, true);
  EXPECT_NEAR(all.sum.item<double>(), 3 * std::log(4 / 3.0) + 3 * std::log(4.0), 1e-12);
  EXPECT_EQ(all.count, 6);
  EXPECT_NEAR(real.sum.item<double>(), 3 * std::log(4 / 3.0), 1e-12);
  EXPECT_EQ(real.count, 3);
  EXPECT_EQ(CrossEntropySum(logits.to(at::kBFloat16), targets, false).sum.scalar_type(),
            at::kFloat);
}

// Margins log 3, -log 3 and 0: log(4/3), log 4 and log 2; the gradient is the sigmoid of -margin.
// Far margins are neither infinite nor cut.
TEST(BprLossSum, ClosedForms) {
  const double third = std::log(3.0);
  at::Tensor positive = at::tensor(std::vector<double>{1 + third, 1 - third, 1});
  positive.set_requires_grad(true);
  const at::Tensor negative = at::tensor(std::vector<double>{1, 1, 1});
  const at::Tensor loss = BprLossSum(positive, negative);
  EXPECT_NEAR(loss.item<double>(), std::log(4 / 3.0) + std::log(4.0) + std::log(2.0), 1e-12);
  loss.backward();
  const at::Tensor want = at::tensor(std::vector<double>{-.25, -.75, -.5});
  EXPECT_LT((positive.grad() - want).abs().max().item<double>(), 1e-12);
  const auto at = [](double margin) {
    return BprLossSum(at::tensor(std::vector<double>{margin}), at::tensor(std::vector<double>{0}))
        .item<double>();
  };
  EXPECT_NEAR(at(-800), 800, 1e-12);
  EXPECT_NEAR(at(30) / std::exp(-30.0), 1, 1e-12);
  EXPECT_EQ(BprLossSum(positive.to(at::kHalf), negative.to(at::kHalf)).scalar_type(), at::kFloat);
}

// X = Y = I_2, tau = 1: targets softmax(1, 0) = (.731, .269), scores the same, so the entropy of
// that distribution.
TEST(SoftDotAlignment, GoldenValue) {
  const at::Tensor i2 = at::eye(2, at::kDouble);
  EXPECT_NEAR(SoftDotAlignment(i2, i2, 1).item<double>(), 0.582203, 5e-7);
}

// The published code's alignment loss, loop by loop.
double Plain(const at::Tensor& x, const at::Tensor& y, double tau) {
  const int64_t n = x.size(0);
  const auto dot = [](const at::Tensor& a, const at::Tensor& b) {
    return (a * b).sum().item<double>();
  };
  const auto at = [n](int64_t i, int64_t j) { return static_cast<size_t>(i * n + j); };
  std::vector<double> r(static_cast<size_t>(n * n)), target(r.size());
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      r[at(i, j)] = dot(x[i], y[j]) / tau;
      sum += target[at(i, j)] = std::exp(tau * (dot(y[i], y[j]) + dot(x[i], x[j])) / 2);
    }
    for (int64_t j = 0; j < n; ++j) target[at(i, j)] /= sum;
  }
  double loss = 0;
  for (int64_t b = 0; b < n; ++b) {
    double row = 0, column = 0;
    for (int64_t k = 0; k < n; ++k) {
      row += std::exp(r[at(b, k)]);
      column += std::exp(r[at(k, b)]);
    }
    for (int64_t j = 0; j < n; ++j) {
      loss -= target[at(b, j)] * (r[at(b, j)] - std::log(row)) / 2;
      loss -= target[at(j, b)] * (r[at(j, b)] - std::log(column)) / 2;
    }
  }
  return loss / static_cast<double>(n);
}

TEST(SoftDotAlignment, IsTheStatedFormulaAndSoIsItsGradient) {
  at::Tensor x = at::randn({4, 3}, at::kDouble), y = at::randn({4, 3}, at::kDouble);
  for (const double tau : {1.0, 0.5}) {
    const at::Tensor xg = x.clone().set_requires_grad(true), yg = y.clone().set_requires_grad(true);
    const at::Tensor loss = SoftDotAlignment(xg, yg, tau);
    EXPECT_NEAR(loss.item<double>(), Plain(x, y, tau), 1e-12);
    loss.backward();
    for (const auto& [values, gradient] : {std::pair(x, xg.grad()), std::pair(y, yg.grad())}) {
      for (int64_t i = 0; i < values.numel(); ++i) {  // central differences, targets moving too
        double& value = values.data_ptr<double>()[i];
        const double before = value, h = 1e-5;
        value = before + h;
        const double up = Plain(x, y, tau);
        value = before - h;
        const double down = Plain(x, y, tau);
        value = before;
        EXPECT_NEAR(gradient.const_data_ptr<double>()[i], (up - down) / (2 * h), 1e-7);
      }
    }
  }
}

}  // namespace
}  // namespace whyrec::nn
