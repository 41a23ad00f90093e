// Losses over scores against closed forms, plain loops and central differences.
#include "src/nn/ranking_losses.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "src/base/error.h"
#include "src/nn/losses.h"
#include "tests/nn/fp64.h"

namespace whyrec::nn {
namespace {

at::Tensor Doubles(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }
at::Tensor Longs(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }
double Softplus(double x) { return std::log1p(std::exp(x)); }

// The losses of 7 examples with 4 negatives of 11 items, under one signature.
struct Case {
  const char* name;
  std::function<at::Tensor(const Tensors&, int64_t begin, int64_t end)> loss;  // of a slice
};

std::vector<Case> Cases() {
  const auto positive = [](const Tensors& x, int64_t b, int64_t e) { return x[0].slice(0, b, e); };
  const auto negative = [](const Tensors& x, int64_t b, int64_t e) { return x[1].slice(0, b, e); };
  const at::Tensor targets = Longs({3, 1, 4, 1, 5, 9, 2});
  const at::Tensor drawn = at::randint(11, {7, 4}, at::kLong), shared = Longs({1, 6, 4, 4});
  const at::Tensor log_expected = at::log(at::rand({11}, at::kDouble) + 0.1);
  const auto sampled = [=](const at::Tensor& negatives, bool corrected, bool correct_positive) {
    return [=](const Tensors& x, int64_t b, int64_t e) {
      const at::Tensor own = negatives.dim() == 1 ? negatives : negatives.slice(0, b, e);
      const SampledItems items{targets.slice(0, b, e), own, corrected ? log_expected : at::Tensor(),
                               correct_positive};
      return SampledSoftmaxLossSum(positive(x, b, e), negative(x, b, e), items);
    };
  };
  return {
      {"BCE", [=](const Tensors& x, int64_t b,
                  int64_t e) { return BceLossSum(positive(x, b, e), negative(x, b, e)); }},
      {"gBCE",
       [=](const Tensors& x, int64_t b, int64_t e) {
         return GbceLossSum(positive(x, b, e), negative(x, b, e), 11, 0.75);
       }},
      {"cross-entropy",
       [=](const Tensors& x, int64_t b, int64_t e) {
         return ItemCrossEntropySum(at::cat({x[1], x[1] * 2, x[1] - 3}, 1).slice(0, b, e),
                                    targets.slice(0, b, e));
       }},
      {"sampled softmax", sampled(drawn, false, false)},
      {"sampled softmax, shared", sampled(shared, false, false)},
      {"sampled softmax, log q", sampled(drawn, true, false)},
      {"sampled softmax, log q of all", sampled(shared, true, true)},
      {"BPR with a floor",
       [=](const Tensors& x, int64_t b, int64_t e) {
         return FlooredBprLossSum(positive(x, b, e), negative(x, b, e).select(1, 0), 1e-5);
       }},
      {"cosine contrastive",
       [=](const Tensors& x, int64_t b, int64_t e) {
         return CosineContrastiveLossSum(positive(x, b, e), negative(x, b, e), 0.3, 10);
       }},
      {"squares",
       [=](const Tensors& x, int64_t b, int64_t e) {
         return SumOfSquares({positive(x, b, e), negative(x, b, e)});
       }},
  };
}

TEST(RankingLosses, GradientsAreCentralDifferences) {
  const Tensors scores = {Normal({7}), Normal({7, 4})};
  for (const Case& c : Cases())
    EXPECT_LT(GradientError([&](const Tensors& x) { return c.loss(x, 0, 7); }, scores), 1e-7)
        << c.name;
}

TEST(RankingLosses, SlicesAddUp) {
  const Tensors scores = {Normal({7}), Normal({7, 4})};
  for (const Case& c : Cases()) {
    const double whole = Value(c.loss(scores, 0, 7));
    const double slices = Value(c.loss(scores, 0, 2) + c.loss(scores, 2, 3) + c.loss(scores, 3, 7));
    EXPECT_NEAR(slices, whole, 1e-12 * std::abs(whole)) << c.name;
  }
}

TEST(RankingLosses, HalfTypesAreComputedInSinglePrecision) {
  const Tensors scores = {Normal({7}).to(at::kBFloat16), Normal({7, 4}).to(at::kBFloat16)};
  for (const Case& c : Cases()) {
    const at::Tensor got = c.loss(scores, 0, 7);
    const Tensors wide = {scores[0].to(at::kDouble), scores[1].to(at::kDouble)};
    const bool wide_table = std::string(c.name).find("log q") != std::string::npos;  // it is fp64
    EXPECT_EQ(got.scalar_type(), wide_table ? at::kDouble : at::kFloat) << c.name;
    if (std::string(c.name) == "cross-entropy") continue;  // this case computes in bf16 before it
    EXPECT_NEAR(Value(got) / Value(c.loss(wide, 0, 7)), 1, 1e-5) << c.name;
  }
}

TEST(BceLossSum, IsTheSumOfItsTerms) {
  const at::Tensor positive = Normal({3}), negatives = Normal({3, 2});
  double want = 0;
  for (int64_t i = 0; i < 3; ++i) {
    want += Softplus(-Value(positive[i]));
    for (int64_t j = 0; j < 2; ++j) want += Softplus(Value(negatives[i][j]));
  }
  EXPECT_NEAR(Value(BceLossSum(positive, negatives)), want, 1e-12);
  EXPECT_NEAR(Value(BceLossSum(at::zeros({3}), at::zeros({3, 2}))), 9 * std::log(2.0), 1e-5);
  EXPECT_THROW(BceLossSum(positive, Normal({2, 2})), Error);
}

// Against the form of the paper's code, which transforms the positive's score, where that does not
// overflow; and where it does.
TEST(GbceLossSum, IsThePlainLossOfTransformedScores) {
  const at::Tensor positive = Normal({5}), negatives = Normal({5, 4});
  const double alpha = 4 / 100.0;
  for (const double t : {0.0, 0.5, 0.75, 1.0}) {
    const double beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha);
    const at::Tensor transformed = -at::log(positive.sigmoid().pow(-beta) - 1);
    EXPECT_NEAR(Value(GbceLossSum(positive, negatives, 101, t)),
                Value(BceLossSum(transformed, negatives)), 1e-11);
  }
  EXPECT_NEAR(Value(GbceLossSum(positive, negatives, 101, 0)),
              Value(BceLossSum(positive, negatives)), 1e-12);
  const at::Tensor far = at::full({1}, -800.0, at::kDouble),
                   none = at::full({1, 4}, -800.0, at::kDouble);
  EXPECT_NEAR(Value(GbceLossSum(far, none, 101, 1)), 800 * alpha, 1e-9);
}

TEST(ItemCrossEntropySum, ZeroWeightsKnowNothing) {
  const at::Tensor logits = at::mm(at::zeros({6, 8}, at::kDouble), Normal({8, 9}));
  EXPECT_NEAR(Value(ItemCrossEntropySum(logits, Longs({0, 8, 3, 3, 1, 2}))), 6 * std::log(9.0),
              1e-12);
}

// All other items as negatives make it the full loss; repeats of the positive change nothing.
TEST(SampledSoftmaxLossSum, OfAllItemsIsTheFullLoss) {
  const at::Tensor logits = Normal({3, 5}), targets = Longs({4, 0, 2});
  const at::Tensor own = logits.gather(1, targets.unsqueeze(1)).squeeze(1);
  const double want = Value(ItemCrossEntropySum(logits, targets));
  const SampledItems all{targets, at::arange(5, at::kLong), {}, false};
  EXPECT_NEAR(Value(SampledSoftmaxLossSum(own, logits, all)), want, 1e-12);
  const SampledItems more{
      targets, at::cat({all.negatives.expand({3, 5}), targets.unsqueeze(1)}, 1), {}, false};
  EXPECT_NEAR(Value(SampledSoftmaxLossSum(own, at::cat({logits, own.unsqueeze(1)}, 1), more)), want,
              1e-12);
}

// A positive that is drawn as its own only negative leaves nothing to learn.
TEST(SampledSoftmaxLossSum, TheOwnPositiveIsNoNegative) {
  at::Tensor own = Normal({2}).set_requires_grad(true);
  at::Tensor others = Normal({2, 2}).set_requires_grad(true);
  const at::Tensor loss =
      SampledSoftmaxLossSum(own, others, {Longs({3, 6}), Longs({3, 3}), {}, false});
  const at::Tensor second = own.detach()[1], rivals = others.detach()[1];
  const double total =
      std::exp(Value(second)) + std::exp(Value(rivals[0])) + std::exp(Value(rivals[1]));
  EXPECT_NEAR(Value(loss), std::log(total) - Value(second), 1e-12);
  loss.backward();
  EXPECT_EQ(Value(own.grad()[0]), 0);
  EXPECT_EQ(Value(others.grad()[0].abs().sum()), 0);
  EXPECT_GT(Value(others.grad()[1].min()), 0);
}

// Over all draws of two of four items, each by its probability, the mean of e^loss is that of the
// full softmax: e^loss = 1 + sum of negatives / e^(s+).
TEST(SampledSoftmaxLossSum, CorrectedNegativesAreUnbiased) {
  const std::vector<double> q = {0.1, 0.2, 0.3, 0.4};
  const at::Tensor log_expected = at::log(2 * Doubles(q)), scores = Normal({4}),
                   target = Longs({1});
  double mean = 0;
  for (int64_t a = 0; a < 4; ++a)
    for (int64_t b = 0; b < 4; ++b) {
      const at::Tensor drawn = Longs({a, b});
      const SampledItems items{target, drawn, log_expected, false};
      const at::Tensor loss = SampledSoftmaxLossSum(
          scores.slice(0, 1, 2), scores.index_select(0, drawn).unsqueeze(0), items);
      mean += q[a] * q[b] * std::exp(Value(loss));
    }
  EXPECT_NEAR(std::log(mean), Value(ItemCrossEntropySum(scores.unsqueeze(0), target)), 1e-12);
}

// Where all items are equally likely, correcting all scores alike changes nothing.
TEST(SampledSoftmaxLossSum, EqualCorrectionsCancel) {
  const at::Tensor own = Normal({3}), others = Normal({3, 4});
  const at::Tensor targets = Longs({0, 5, 7}), drawn = Longs({1, 2, 3, 6});
  EXPECT_NEAR(Value(SampledSoftmaxLossSum(
                  own, others, {targets, drawn, at::full({9}, -2.5, at::kDouble), true})),
              Value(SampledSoftmaxLossSum(own, others, {targets, drawn, {}, false})), 1e-12);
}

TEST(FlooredBprLossSum, IsBprThatEnds) {
  const at::Tensor positive = Normal({6}), negative = Normal({6});
  EXPECT_NEAR(Value(FlooredBprLossSum(positive, negative, 0)),
              Value(BprLossSum(positive, negative)), 1e-12);
  EXPECT_NEAR(Value(FlooredBprLossSum(Doubles({0}), Doubles({0}), 1e-5)), -std::log(0.50001),
              1e-12);
  EXPECT_NEAR(Value(FlooredBprLossSum(Doubles({-800}), Doubles({0}), 1e-5)), -std::log(1e-5), 1e-9);
}

// One negative of three is above the margin: 1 - .6 + 10/3 (.8 - .5); the second example is done.
TEST(CosineContrastiveLossSum, ClosedForm) {
  const at::Tensor positive = Doubles({0.6, 1}), negatives = Doubles({.8, .5, -1, .2, .4, .5});
  EXPECT_NEAR(Value(CosineContrastiveLossSum(positive, negatives.view({2, 3}), 0.5, 10)), 1.4,
              1e-12);
}

TEST(SumOfSquares, AddsAllRows) {
  EXPECT_EQ(Value(SumOfSquares({Doubles({1, 2}), Doubles({3, 4, 5, 6}).view({2, 2})})), 91);
}

}  // namespace
}  // namespace whyrec::nn
