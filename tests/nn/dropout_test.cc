// Dropout against the distribution it stands for, and its kernel against general operators.
#include "src/nn/dropout.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "src/base/rng.h"
#include "src/nn/numeric.h"

namespace whyrec::nn {
namespace {

const at::Device kCpu(at::kCPU);

RowKeys Keys(int64_t samples, int64_t rows, uint64_t seed = 1, int64_t step = 0) {
  return KeysOf(DrawsOf(seed, step, 0, samples), "test", rows, kCpu);
}

// 1 where an element is kept, fp64.
at::Tensor Kept(const RowKeys& keys, int64_t columns, double p) {
  std::vector<int64_t> shape = keys.rows().sizes().vec();
  shape.push_back(columns);
  return Dropout(at::ones(shape), p, keys).ne(0).to(at::kDouble);
}

// How many standard deviations the sum of `n` kept flags is off.
double Off(const at::Tensor& kept, double p) {
  const auto n = static_cast<double>(kept.numel());
  return (kept.sum().item<double>() - n * (1 - p)) / std::sqrt(n * p * (1 - p));
}

TEST(Dropout, DropsTheShareThatIsAsked) {
  for (const double p : {0.05, 0.1, 0.5, 0.9}) {
    const at::Tensor kept = Kept(Keys(50, 200), 300, p);  // 3 million
    EXPECT_LT(std::abs(Off(kept, p)), 4) << p;
    const at::Tensor y = Dropout(at::ones({50, 200, 300}, at::kDouble), p, Keys(50, 200));
    EXPECT_NEAR(y.mean().item<double>(), 1, 4 * std::sqrt(p / (1 - p) / 3e6)) << p;
    EXPECT_EQ(y.max().item<double>(), 1 / (1 - p));
  }
  const at::Tensor x = at::ones({2, 3, 4});
  EXPECT_TRUE(Dropout(x, 0, Keys(2, 3)).is_same(x));
  EXPECT_TRUE(Dropout(x, 0.5, {}).is_same(x));
  EXPECT_EQ(Dropout(x, 1, Keys(2, 3)).sum().item<float>(), 0);
}

// Sums over the rows, columns and samples are binomial: each deviates from its mean as it should
// (chi-square over n of them is normal with mean n and variance 2 n).
TEST(Dropout, RowsColumnsAndSamplesAreAlike) {
  const double p = 0.1;
  const at::Tensor kept = Kept(Keys(40, 100), 250, p);
  for (int64_t dim = 0; dim < 3; ++dim) {
    const at::Tensor sums = kept.sum(dim);
    const double of = static_cast<double>(kept.size(dim)), n = static_cast<double>(sums.numel());
    const double chi = ((sums - of * (1 - p)).square() / (of * p * (1 - p))).sum().item<double>();
    // The fourth moment of a binomial adds (1 - 6 p q) / (n p q) to the variance of a term.
    const double term = 2 + (1 - 6 * p * (1 - p)) / (of * p * (1 - p));
    EXPECT_LT(std::abs(chi - n) / std::sqrt(n * term), 4) << "sums over dimension " << dim;
  }
}

// Neighbours of every kind share as many dropped elements as chance makes them.
TEST(Dropout, NeighboursAreIndependent) {
  const double p = 0.3, both = p * p;
  const auto independent = [&](const at::Tensor& a, const at::Tensor& b, const std::string& what) {
    const at::Tensor dropped = (1 - a) * (1 - b);
    const auto n = static_cast<double>(dropped.numel());
    const double off = (dropped.sum().item<double>() - n * both) / std::sqrt(n * both * (1 - both));
    EXPECT_LT(std::abs(off), 4) << what;
  };
  const RowKeys keys = Keys(20, 100);
  const at::Tensor kept = Kept(keys, 400, p);
  for (const int64_t lag : {1, 2, 3, 7, 16, 64})
    for (int64_t dim = 0; dim < 3; ++dim) {
      const int64_t n = kept.size(dim) - lag;
      if (n > 0)
        independent(kept.narrow(dim, 0, n), kept.narrow(dim, lag, n),
                    "dimension " + std::to_string(dim) + ", lag " + std::to_string(lag));
    }
  const at::Tensor heads = Kept(keys.Heads(4), 100, p);
  for (int64_t head = 1; head < 4; ++head)
    independent(heads.select(1, 0), heads.select(1, head), "head " + std::to_string(head));
  std::vector<RowKeys> places = {keys};
  for (int64_t place = -2; place < 12; ++place) places.push_back(keys.At(place));
  for (int64_t place = 0; place < 4; ++place) places.push_back(keys.At(1).At(place));
  std::set<uint32_t> sites;
  for (const RowKeys& at : places) sites.insert(at.site());
  EXPECT_EQ(sites.size(), places.size());
  for (size_t i = 1; i < places.size(); ++i)
    independent(Kept(places[i - 1], 400, p), Kept(places[i], 400, p), "place " + std::to_string(i));
  independent(kept, Kept(Keys(20, 100, 1, 1), 400, p), "steps");
  independent(kept, Kept(Keys(20, 100, 2), 400, p), "seeds");
  independent(kept, Kept(KeysOf(DrawsOf(1, 0, 0, 20), "other", 100, kCpu), 400, p), "networks");
}

// The hash of an element flips every bit with probability 1/2 when one bit of its key flips.
TEST(Dropout, KeysAvalanche) {
  constexpr int64_t kRows = 20000;
  std::vector<int32_t> base, flipped;
  Rng rng(1, "keys");
  for (int64_t i = 0; i < kRows; ++i) base.push_back(static_cast<int32_t>(rng.Next()));
  const auto of = [&](const std::vector<int32_t>& rows) {
    return Kept(RowKeys(at::tensor(rows, at::kInt)), 8, 0.5);
  };
  const at::Tensor before = of(base);
  for (int bit = 0; bit < 32; ++bit) {
    flipped = base;
    for (int32_t& key : flipped) key ^= static_cast<int32_t>(1U << bit);
    EXPECT_LT(std::abs(Off((before - of(flipped)).abs(), 0.5)), 4.5) << bit;
  }
}

// To the bit, over odd widths and both ways through the threads.
TEST(Dropout, KernelEqualsOperators) {
  SetThreads(2);
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16})
    for (const int64_t columns : {1, 3, 8, 31, 64, 257, 1000})
      for (const double p : {0.1, 0.5, 1.0}) {
        const at::Tensor x = at::randn({4, 3, 70, columns}).to(dtype);
        const RowKeys keys = Keys(4, 70, 9).At(3).Heads(3);
        const at::Tensor fast = Dropout(x, p, keys), slow = DropoutByOperators(x, p, keys);
        EXPECT_EQ(fast.scalar_type(), dtype);
        EXPECT_TRUE(fast.equal(slow)) << dtype << " " << columns << " " << p;
        const RowKeys turned = keys.With(keys.rows().transpose(0, 1));
        EXPECT_TRUE(Dropout(x.transpose(0, 1), p, turned).equal(fast.transpose(0, 1)));
      }
  SetThreads(1);
  const at::Tensor half = at::randn({5, 40}).to(at::kHalf);  // has no kernel
  const RowKeys keys = KeysOf(DrawsOf(1, 0, 0, 1), "half", 5, kCpu);
  EXPECT_TRUE(Dropout(half.unsqueeze(0), 0.2, keys)
                  .to(at::kFloat)
                  .ne(0)
                  .equal(Dropout(half.to(at::kFloat).unsqueeze(0), 0.2, keys).ne(0)));
}

TEST(Dropout, GradientIsTheSameMap) {
  at::Tensor x = at::randn({2, 5, 7}, at::kDouble).set_requires_grad(true);
  const RowKeys keys = Keys(2, 5);
  const at::Tensor mask = Dropout(at::ones_like(x.detach()), 0.4, keys);
  const at::Tensor slope = at::randn({2, 5, 7}, at::kDouble);
  const at::Tensor y = Dropout(x, 0.4, keys);
  EXPECT_TRUE(y.equal(x.detach() * mask));
  (y * slope).sum().backward();
  EXPECT_TRUE(x.grad().equal(slope * mask));
}

// A sample's masks are its own: neither its place in the pass nor the rows beside it matter.
TEST(Dropout, MasksBelongToTheSample) {
  const at::Tensor all = Kept(Keys(6, 10), 20, 0.5);
  const at::Tensor part = Kept(KeysOf(DrawsOf(1, 0, 2, 3), "test", 10, kCpu), 20, 0.5);
  EXPECT_TRUE(part.equal(all.narrow(0, 2, 3)));
  const std::vector<RowRun> runs = {{2, 4}, {0, 10}, {2, 6}};
  const at::Tensor packed = Kept(KeysOf(DrawsOf(1, 0, 0, 3), "test", runs, kCpu), 20, 0.5);
  EXPECT_TRUE(packed.narrow(0, 4, 10).equal(all[0]));
  EXPECT_TRUE(at::cat({packed.narrow(0, 0, 4), packed.narrow(0, 14, 6)}).equal(all[2]));
  EXPECT_TRUE(Kept(Keys(6, 7), 12, 0.5).equal(all.narrow(1, 0, 7).narrow(2, 0, 12)));  // padding
}

}  // namespace
}  // namespace whyrec::nn
