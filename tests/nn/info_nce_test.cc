// InfoNCE against PyTorch (tests/golden/make_info_nce.py) and closed forms: ln 11 when all cosines
// are equal, and the floor ln(1 + 10 e^-2) at tau = 1.
#include "src/nn/info_nce.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"

namespace whyrec::nn {
namespace {

struct Inputs {
  at::Tensor anchors, positives, negatives, log_tau;
  Inputs To(at::ScalarType type) const {
    const auto leaf = [&](const at::Tensor& x) {
      return x.to(type, false, /*copy=*/true).requires_grad_();
    };
    return {leaf(anchors), leaf(positives), negatives, leaf(log_tau)};
  }
  at::Tensor Loss() const { return InfoNce(anchors, positives, negatives, log_tau); }
};

const store::TensorMap& Golden() {
  static const store::TensorMap map =
      store::ReadSafetensors(kGolden / "info_nce_golden.safetensors");
  return map;
}
at::Tensor Get(const std::string& name) { return tensor::View(Golden().at(name)); }

TEST(InfoNce, EqualsPyTorch) {
  for (const std::string name : {"full.", "short."})
    for (const auto type : {at::kDouble, at::kFloat}) {
      const Inputs x = Inputs{Get(name + "anchors"), Get(name + "positives"),
                              Get(name + "negatives"), Get(name + "log_tau")}
                           .To(type);
      const at::Tensor loss = x.Loss();
      loss.backward();
      double most = 0;
      for (const auto& [got, what] : {std::pair{loss, "loss"},
                                      {x.anchors.grad(), "grad.anchors"},
                                      {x.positives.grad(), "grad.positives"},
                                      {x.log_tau.grad(), "grad.log_tau"}}) {
        const double share = ShareOfBound(got, Golden(), name + what, 1e-12);
        EXPECT_LT(share, 1) << what;
        most = std::max(most, share);
      }
      std::printf("%s%s: largest share of a bound: %.2g\n", name.c_str(), c10::toString(type),
                  most);
    }
}

// One anchor whose positive and ten negatives have the cosines given.
double LossOf(double own, double others, double tau) {
  const auto row = [](double cosine) {
    return at::tensor({cosine, std::sqrt(1 - cosine * cosine)}, at::kDouble);
  };
  std::vector<at::Tensor> rows = {row(own).unsqueeze(0)};
  for (int i = 0; i < 10; ++i) rows.push_back(2.5 * row(others).unsqueeze(0));
  const at::Tensor negatives = at::arange(1, 11, at::kLong).unsqueeze(0);
  return InfoNce(row(1).unsqueeze(0), at::cat(rows), negatives,
                 at::tensor(std::log(tau), at::kDouble))
      .item<double>();
}

TEST(InfoNce, ClosedForms) {
  for (const double tau : {0.07, 1.0}) EXPECT_NEAR(LossOf(0.3, 0.3, tau), std::log(11.0), 1e-14);
  EXPECT_NEAR(LossOf(0.3, 0.3, 1), 2.3978952727983707, 1e-14);
  EXPECT_NEAR(LossOf(1, -1, 1), 0.8558410485107009, 1e-14);
  EXPECT_NEAR(LossOf(1, 0, 1), 1.5430404724093345, 1e-14);
  EXPECT_NEAR(LossOf(1, 0, 0.07), 6.24873e-06, 5e-12);
}

TEST(InfoNce, ZeroVectorsHaveCosineZero) {
  const at::Tensor z = at::zeros({11, 4}, at::kDouble);
  const at::Tensor loss = InfoNce(z, at::ones({11, 4}, at::kDouble), DrawNegatives(11, 10, 1, 0),
                                  at::zeros({}, at::kDouble));
  EXPECT_NEAR(loss.item<double>(), std::log(11.0), 1e-14);
}

TEST(InfoNce, ABatchOfOneHasNoLoss) {
  const at::Tensor x = at::ones({1, 4});
  EXPECT_EQ(InfoNce(x, -x, DrawNegatives(1, 10, 1, 0), at::zeros({})).item<float>(), 0);
}

TEST(InfoNce, NegativesAreNotDetached) {
  const Inputs x = Inputs{at::eye(3, 5, at::kDouble), at::ones({3, 5}, at::kDouble),
                          at::tensor({1, 0, 0}, at::kLong).view({3, 1}), at::zeros({}, at::kDouble)}
                       .To(at::kDouble);
  x.Loss().backward();
  EXPECT_GT(x.positives.grad()[1].abs().max().item<double>(), 1e-3);
}

TEST(DrawNegatives, AreDistinctOthersAndKeyed) {
  const at::Tensor drawn = DrawNegatives(16, 10, 7, 3);
  ASSERT_EQ(drawn.sizes(), (std::vector<int64_t>{16, 10}));
  for (int64_t i = 0; i < 16; ++i) {
    std::set<int64_t> seen;
    for (int64_t k = 0; k < 10; ++k) seen.insert(drawn[i][k].item<int64_t>());
    EXPECT_EQ(seen.size(), 10u);
    EXPECT_FALSE(seen.contains(i));
    EXPECT_GE(*seen.begin(), 0);
    EXPECT_LT(*seen.rbegin(), 16);
  }
  EXPECT_TRUE(drawn.equal(DrawNegatives(16, 10, 7, 3)));
  EXPECT_FALSE(drawn.equal(DrawNegatives(16, 10, 7, 4)));
  EXPECT_FALSE(drawn.equal(DrawNegatives(16, 10, 8, 3)));
}

TEST(DrawNegatives, AShortBatchTakesAllOthers) {
  const at::Tensor drawn = DrawNegatives(4, 10, 7, 3);
  ASSERT_EQ(drawn.sizes(), (std::vector<int64_t>{4, 3}));
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(drawn[i].sum().item<int64_t>(), 0 + 1 + 2 + 3 - i);
}

// Each of 5 others is drawn with probability 2/5: 1,200 +- 27 times of 3,000.
TEST(DrawNegatives, AreUniform) {
  std::vector<int> counts(6);
  for (int64_t step = 0; step < 3000; ++step) {
    const at::Tensor drawn = DrawNegatives(6, 2, 1, step);
    for (int k = 0; k < 2; ++k) ++counts[drawn[2][k].item<int64_t>()];
  }
  EXPECT_EQ(counts[2], 0);
  for (const int other : {0, 1, 3, 4, 5}) EXPECT_NEAR(counts[other], 1200, 120);
}

}  // namespace
}  // namespace whyrec::nn
