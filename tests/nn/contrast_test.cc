// Contrastive heads against plain loops, closed forms and central differences; slices of anchors
// against the whole.
#include "src/nn/contrast.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "src/base/error.h"
#include "tests/nn/fp64.h"

namespace whyrec::nn {
namespace {

constexpr double kTau = 0.4;

double Dot(const at::Tensor& a, const at::Tensor& b) { return Value((a * b).sum()); }
double Cos(const at::Tensor& a, const at::Tensor& b) {
  return Dot(a, b) / std::sqrt(Dot(a, a) * Dot(b, b));
}
double Sim(Similarity kind, const at::Tensor& a, const at::Tensor& b) {
  return kind == Similarity::kDot ? Dot(a, b) : Cos(a, b);
}
double Scaled(double similarity) { return std::exp(similarity / kTau); }

// A head over tensors whose first dimension holds 6 anchors, of which [begin, end) are taken, and
// the same number by loops.
struct Head {
  const char* name;
  Tensors inputs;
  std::function<at::Tensor(const Tensors&, int64_t begin, int64_t end)> loss;
  std::function<double(const Tensors&)> plain;
};

Head InBatch() {
  return {"in batch",
          {Normal({6, 3}), Normal({8, 3})},
          [](const Tensors& x, int64_t b, int64_t e) {  // the anchors are keys 2..7
            return InBatchContrastSum(x[0].slice(0, b, e), x[1], 2 + b, kTau);
          },
          [](const Tensors& x) {
            double loss = 0;
            for (int64_t i = 0; i < 6; ++i) {
              double sum = 0;
              for (int64_t j = 0; j < 8; ++j) sum += Scaled(Cos(x[0][i], x[1][j]));
              loss -= std::log(Scaled(Cos(x[0][i], x[1][i + 2])) / sum);
            }
            return loss;
          }};
}

Head NtXent(const char* name, Similarity kind) {
  return {name,
          {Normal({6, 3})},
          [kind](const Tensors& x, int64_t b, int64_t e) {
            return NtXentSum(x[0].slice(0, b, e), x[0], b, kTau, kind);
          },
          [kind](const Tensors& x) {
            double loss = 0;
            for (int64_t i = 0; i < 6; ++i) {
              double sum = 0;
              for (int64_t j = 0; j < 6; ++j)
                if (j != i) sum += Scaled(Sim(kind, x[0][i], x[0][j]));
              loss -= std::log(Scaled(Sim(kind, x[0][i], x[0][(i + 3) % 6])) / sum);
            }
            return loss;
          }};
}

Head Table() {
  const std::vector<int64_t> rows = {4, 0, 4, 2, 1, 3};
  return {"table",
          {Normal({6, 3}), Normal({5, 3})},
          [rows = at::tensor(rows, at::kLong)](const Tensors& x, int64_t b, int64_t e) {
            return TableContrastSum(x[0].slice(0, b, e), x[1], rows.slice(0, b, e), kTau);
          },
          [rows](const Tensors& x) {
            double loss = 0;
            for (int64_t i = 0; i < 6; ++i) {
              double sum = 0;
              for (int64_t j = 0; j < 5; ++j) sum += Scaled(Cos(x[0][i], x[1][j]));
              loss -= std::log(Scaled(Cos(x[0][i], x[1][rows[i]])) / sum);
            }
            return loss;
          }};
}

Head NegativeViews() {
  return {"negative views",
          {Normal({6, 3}), Normal({4, 3})},
          [](const Tensors& x, int64_t b, int64_t e) {
            return NegativeViewsContrastSum(x[0].slice(0, b, e), x[0], b, x[1], kTau);
          },
          [](const Tensors& x) {
            double loss = 0;
            for (int64_t i = 0; i < 6; ++i) {
              double sum = 0;
              for (int64_t j = 0; j < 6; ++j)
                if (j != i) sum += Scaled(Cos(x[0][i], x[0][j]));
              for (int64_t p = 0; p < 4; ++p) sum += Scaled(Cos(x[0][i], x[1][p]));
              for (int64_t j = 0; j < 6; ++j)
                if (j != i) loss -= std::log(Scaled(Cos(x[0][i], x[0][j])) / sum) / 5;
            }
            return loss;
          }};
}

Head LateInteractionBce() {
  return {"late interaction",
          {Normal({6, 3, 2}), Normal({7, 4, 2})},
          [](const Tensors& x, int64_t b, int64_t e) {  // the anchors are columns 1..6
            return PairwiseBceSum(LateInteraction(x[0].slice(0, b, e), x[1]), 1 + b);
          },
          [](const Tensors& x) {
            double loss = 0;
            for (int64_t i = 0; i < 6; ++i)
              for (int64_t j = 0; j < 7; ++j) {
                double score = 0;
                for (int64_t m = 0; m < 3; ++m) {
                  double best = Dot(x[0][i][m], x[1][j][0]);
                  for (int64_t k = 1; k < 4; ++k)
                    best = std::max(best, Dot(x[0][i][m], x[1][j][k]));
                  score += best;
                }
                loss += std::log1p(std::exp(j == i + 1 ? -score : score));
              }
            return loss;
          }};
}

Head GivenNegatives(const char* name, Similarity kind, bool shared) {
  const at::Tensor negatives = shared ? Normal({5, 3}) : Normal({6, 5, 3});
  return {name,
          {Normal({6, 3}), Normal({6, 3}), negatives},
          [=](const Tensors& x, int64_t b, int64_t e) {
            const at::Tensor own = shared ? x[2] : x[2].slice(0, b, e);
            return GivenNegativesContrastSum(x[0].slice(0, b, e), x[1].slice(0, b, e), own, kTau,
                                             kind);
          },
          [=](const Tensors& x) {
            double loss = 0;
            for (int64_t i = 0; i < 6; ++i) {
              const double own = Scaled(Sim(kind, x[0][i], x[1][i]));
              double sum = own;
              for (int64_t j = 0; j < 5; ++j)
                sum += Scaled(Sim(kind, x[0][i], shared ? x[2][j] : x[2][i][j]));
              loss -= std::log(own / sum);
            }
            return loss;
          }};
}

std::vector<Head> Heads() {
  return {InBatch(),
          NtXent("NT-Xent, dot", Similarity::kDot),
          NtXent("NT-Xent, cosine", Similarity::kCosine),
          Table(),
          NegativeViews(),
          LateInteractionBce(),
          GivenNegatives("given, dot", Similarity::kDot, false),
          GivenNegatives("given, cosine", Similarity::kCosine, false),
          GivenNegatives("given, shared", Similarity::kCosine, true)};
}

TEST(Contrast, IsTheStatedFormula) {
  for (const Head& head : Heads()) {
    const double want = head.plain(head.inputs);
    EXPECT_NEAR(Value(head.loss(head.inputs, 0, 6)), want, 1e-12 * std::abs(want)) << head.name;
  }
}

TEST(Contrast, GradientsAreCentralDifferences) {
  for (const Head& head : Heads())
    EXPECT_LT(GradientError([&](const Tensors& x) { return head.loss(x, 0, 6); }, head.inputs),
              1e-6)
        << head.name;
}

// Values and gradients: keys outside a slice get theirs from it too.
TEST(Contrast, SlicesOfAnchorsAddUp) {
  const std::vector<std::vector<int64_t>> cuts = {{0, 6}, {0, 1, 4, 6}};
  for (const Head& head : Heads()) {
    std::vector<Tensors> results;
    for (const auto& cut : cuts) {
      Tensors leaves;
      for (const at::Tensor& x : head.inputs) leaves.push_back(x.clone().set_requires_grad(true));
      double sum = 0;
      for (size_t i = 0; i + 1 < cut.size(); ++i) {
        const at::Tensor loss = head.loss(leaves, cut[i], cut[i + 1]);
        loss.backward();
        sum += Value(loss);
      }
      Tensors result = {at::tensor({sum}, at::kDouble)};
      for (const at::Tensor& x : leaves) result.push_back(x.grad());
      results.push_back(result);
    }
    for (size_t k = 0; k < results[0].size(); ++k) {
      const double apart = Value((results[0][k] - results[1][k]).abs().max());
      EXPECT_LT(apart, 1e-12 * std::max(1.0, Value(results[0][k].abs().max()))) << head.name;
    }
  }
}

TEST(Contrast, HalfTypesAreComputedInSinglePrecision) {
  for (const Head& head : Heads()) {
    Tensors half, wide;
    for (const at::Tensor& x : head.inputs) {
      half.push_back(x.to(at::kBFloat16));
      wide.push_back(half.back().to(at::kDouble));
    }
    const at::Tensor got = head.loss(half, 0, 6);
    EXPECT_EQ(got.scalar_type(), at::kFloat) << head.name;
    EXPECT_NEAR(Value(got) / Value(head.loss(wide, 0, 6)), 1, 1e-5) << head.name;
  }
}

TEST(NtXent, IdenticalRowsTellNothingApart) {
  const at::Tensor views = at::ones({10, 4}, at::kDouble);
  for (const auto kind : {Similarity::kDot, Similarity::kCosine})
    EXPECT_NEAR(Value(NtXentSum(views, views, 0, 1, kind)), 10 * std::log(9.0), 1e-12);
}

TEST(NtXent, ViewsComeInPairs) {
  const at::Tensor views = at::ones({5, 4}, at::kDouble);
  EXPECT_THROW(NtXentSum(views, views, 0, 1, Similarity::kDot), Error);
  EXPECT_THROW(NtXentSum(views.slice(0, 0, 4), views.slice(0, 0, 4), 1, 1, Similarity::kDot),
               Error);
}

// Equal cosines everywhere: log of the number of keys.
TEST(InBatchContrast, ClosedForms) {
  const at::Tensor equal = at::ones({7, 3}, at::kDouble);
  EXPECT_NEAR(Value(InBatchContrastSum(2 * equal, equal, 0, 0.1)), 7 * std::log(7.0), 1e-12);
  const at::Tensor axes = at::eye(4, at::kDouble);  // cosine 1 with itself, 0 with others
  EXPECT_NEAR(Value(InBatchContrastSum(axes, 3 * axes, 0, 0.5)), 4 * std::log1p(3 * std::exp(-2.0)),
              1e-12);
}

TEST(NegativeViewsContrast, AloneHasNothingToDrawNear) {
  EXPECT_EQ(Value(NegativeViewsContrastSum(Normal({1, 3}), Normal({1, 3}), 0, Normal({2, 3}), 1)),
            0);
}

}  // namespace
}  // namespace whyrec::nn
