// Attention over segments against softmax over each token's own whole context, in double.
#include "src/lm/segment_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tests/golden/difference.h"

namespace whyrec::lm {
namespace {

constexpr int64_t kHeads = 6, kGroups = 2, kSize = 16;

struct Context {
  std::vector<at::Tensor> keys, values;  // [n, G, dk] each
  void Add(const at::Tensor& k, const at::Tensor& v) {
    keys.push_back(k.to(at::kDouble));
    values.push_back(v.to(at::kDouble));
  }
};

// q [H,dk] over everything in the context.
at::Tensor Plain(const at::Tensor& q, const Context& context) {
  const auto heads = [](const std::vector<at::Tensor>& parts) {  // [H, n, dk]
    return at::cat(parts).repeat_interleave(kHeads / kGroups, 1).transpose(0, 1);
  };
  const at::Tensor scores =
      at::matmul(heads(context.keys), q.to(at::kDouble).unsqueeze(2)).squeeze(2) /
      std::sqrt(static_cast<double>(kSize));
  return at::matmul(at::softmax(scores, -1).unsqueeze(1), heads(context.values)).squeeze(1);
}

// A read trunk of `trunk` tokens; below it a read and a new segment of `length`, a new one below
// that; sequences with `own` tokens behind them at all four.
struct Scene {
  Scene(int64_t trunk, int64_t length, const std::vector<int64_t>& own, at::ScalarType dtype,
        double spread = 3)
      : shape{1, kGroups, kSize, dtype},
        cache(shape, 100000),
        suffixes(shape, 1 + *std::max_element(own.begin(), own.end())) {
    const auto ids = [&](int64_t second, bool third) {
      std::vector<int64_t> out(static_cast<size_t>(trunk), 1);
      out.resize(static_cast<size_t>(trunk + length), second);
      if (third) out.resize(static_cast<size_t>(trunk + length + 3), 4);
      return out;
    };
    const auto acquire = [&](const std::vector<int64_t>& tokens) {
      return cache.Acquire(PrefixCache::Factors::kShort, tokens, 0);
    };
    Segment* old = acquire(ids(2, false));
    Fill(old);
    Segment* fresh = acquire(ids(3, false));  // splits off the trunk
    Segment* lower = acquire(ids(3, true));
    Segment* stem = fresh->parent;
    for (Segment* segment : {fresh, lower}) cache.BeginRead(segment);
    suffixes.Grow(4);
    suffixes.keys(0).normal_();
    suffixes.values(0).normal_();

    const int64_t count = 4 + length + 3;
    q = at::randn({count, kHeads, kSize}, at::TensorOptions(dtype)) * spread;
    k = at::randn({count, kGroups, kSize}, at::TensorOptions(dtype));
    v = at::randn({count, kGroups, kSize}, at::TensorOptions(dtype));
    want.resize(static_cast<size_t>(count));
    // Packed: row at the stem; row at old; new tokens of fresh, its row; of lower, its row.
    const int64_t first = 2, below = first + length + 1;
    plan.read = {{first, length, fresh}, {below, 3, lower}};
    plan.below = {{0, count, stem}, {1, 1, old}, {first + length, 5, fresh}, {below + 3, 1, lower}};
    plan.rows = {below + 3, 0, 1, first + length};  // slots in another order than tokens
    plan.lengths = own;
    Context at_stem, at_old, at_fresh;
    at_stem.Add(stem->keys[0], stem->values[0]);
    at_old = at_fresh = at_stem;
    at_old.Add(old->keys[0], old->values[0]);
    Row(1, 0, at_stem);
    Row(2, 1, at_old);
    for (int64_t i = first; i < first + length; ++i) New(i, at_fresh);
    Row(3, first + length, at_fresh);
    for (int64_t i = below; i < below + 3; ++i) New(i, at_fresh);
    Row(0, below + 3, at_fresh);
  }
  void Fill(Segment* segment) {
    cache.BeginRead(segment);
    segment->keys.normal_();
    segment->values.normal_();
    segment->state = Segment::State::kRead;
  }
  void New(int64_t token, Context& context) {
    context.Add(k.narrow(0, token, 1), v.narrow(0, token, 1));
    want[static_cast<size_t>(token)] = Plain(q[token], context);
  }
  void Row(int64_t slot, int64_t token, Context context) {
    const int64_t own = plan.lengths[static_cast<size_t>(slot)];
    const auto before = [&](const at::Tensor& slab) {
      return slab[slot].narrow(1, 0, own).transpose(0, 1);
    };
    context.Add(before(suffixes.keys(0)), before(suffixes.values(0)));
    New(token, context);
  }
  at::Tensor Want() const { return at::stack(want); }

  KeyShape shape;
  PrefixCache cache;
  SuffixCache suffixes;
  SegmentPlan plan;
  at::Tensor q, k, v;
  std::vector<at::Tensor> want;
};

TEST(SegmentAttention, IsSoftmaxOverTheWholeContext) {
  at::set_num_threads(1);
  struct Case {
    at::ScalarType dtype;
    double tolerance;
  };
  // In fp32 and bf16: sums of up to 1,200 products.
  for (const auto& [dtype, tolerance] :
       {Case{at::kDouble, 1e-13}, Case{at::kFloat, 1e-5}, Case{at::kBFloat16, 8e-3}}) {
    double largest = 0;
    // The last one is cut in blocks of queries.
    for (const auto& [trunk, length] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {900, 300}}) {
      Scene scene(trunk, length, {0, 3, 1, 5}, dtype);
      SegmentAttention attention(scene.plan, scene.suffixes, at::kCPU);
      const at::Tensor got = attention(0, scene.q, scene.k, scene.v);
      EXPECT_EQ(got.scalar_type(), dtype);
      largest = std::max(largest, Difference(got, scene.Want()));
      const Segment* fresh = scene.plan.read[0].segment;
      EXPECT_TRUE(fresh->keys[0].equal(scene.k.narrow(0, 2, length)));
    }
    EXPECT_LT(largest, tolerance);
    RecordProperty(at::toString(dtype), std::to_string(largest));
    std::printf("%s: largest difference %.3g\n", at::toString(dtype), largest);
  }
}

// Scores in the thousands: parts whose largest differ by hundreds neither overflow nor vanish.
TEST(SegmentAttention, MergesPartsOfVeryDifferentWeight) {
  Scene scene(4, 3, {2, 0, 1, 1}, at::kFloat, 600);
  SegmentAttention attention(scene.plan, scene.suffixes, at::kCPU);
  EXPECT_LT(Difference(attention(0, scene.q, scene.k, scene.v), scene.Want()), 1e-3);
}

}  // namespace
}  // namespace whyrec::lm
