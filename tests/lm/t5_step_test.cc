// T5 over a cache and over trees, against its own whole decode.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "tests/lm/t5_golden.h"

namespace whyrec::lm {
namespace {

struct Case {
  const char* form;
  bool masked;
  at::ScalarType dtype;
};

class Steps : public testing::TestWithParam<Case> {};

// Every row continues some row of its own sample; widths change, and samples leave.
TEST_P(Steps, EqualOneDecode) {
  const Case c = GetParam();
  const c10::NoGradGuard no_grad;
  T5Golden golden(c.form, c.dtype);
  std::optional<at::Tensor> mask;
  if (c.masked) mask = golden.Mask();
  at::Tensor memory = golden.Memory();
  T5::Cache cache = golden.model.Start(memory, mask);
  at::Tensor rows = at::tensor({0, 0, 0}).unsqueeze(1);
  at::Tensor logits = golden.model.Step(cache, {.tokens = rows.squeeze(1)});
  int64_t samples = 3, width = 1;
  for (const int64_t next_width : {4, 4, 6, 2, 1, 4, 3, 3}) {
    at::Tensor kept = at::arange(samples);
    decode::StepInput input{.width = next_width};
    if (rows.size(1) == 3 || rows.size(1) == 6) {  // the first leaves, then what was the third
      kept = rows.size(1) == 3 ? at::tensor({1, 2}) : at::tensor({0});
      input.kept = kept;
      memory = memory.index_select(0, kept);
      if (mask) mask = mask->index_select(0, kept);
    }
    samples = kept.size(0);
    input.origin =
        (at::randint(0, width, {samples, next_width}, at::kLong) + kept.unsqueeze(1) * width)
            .flatten();
    input.tokens = at::randint(2, 64, {samples * next_width}, at::kLong);
    rows = at::cat({rows.index_select(0, input.origin), input.tokens.unsqueeze(1)}, 1);
    logits = golden.model.Step(cache, input);
    width = next_width;

    std::optional<at::Tensor> wide_mask;
    if (mask) wide_mask = mask->repeat_interleave(width, 0);
    const at::Tensor whole =
        golden.model.Decode(rows, memory.repeat_interleave(width, 0), wide_mask, {});
    EXPECT_LT(Difference(logits, whole.select(1, rows.size(1) - 1)), golden.LogitBound())
        << rows.size(1);
  }
  EXPECT_EQ(cache.steps(), 9);
  EXPECT_EQ(samples, 1);
}

INSTANTIATE_TEST_SUITE_P(T5, Steps,
                         testing::Values(Case{"t5", false, at::kFloat},
                                         Case{"t5", true, at::kFloat},
                                         Case{"t5_v11", true, at::kFloat},
                                         Case{"t5", true, at::kDouble},
                                         Case{"t5_v11", false, at::kDouble}));

TEST(T5Steps, PiecesAreColumnsOfAllLogits) {
  const c10::NoGradGuard no_grad;
  for (const char* form : {"t5", "t5_v11"}) {
    T5Golden golden(form);
    const at::Tensor tokens = at::tensor({5, 7, 9}), pieces = at::tensor({0, 1, 17, 3, 60});
    T5::Cache all = golden.model.Start(golden.Memory(), golden.Mask());
    T5::Cache some = golden.model.Start(golden.Memory(), golden.Mask(), pieces);
    EXPECT_LT(Difference(golden.model.Step(some, {.tokens = tokens}),
                         golden.model.Step(all, {.tokens = tokens}).index_select(1, pieces)),
              golden.LogitBound());
  }
}

// Widths that fill the vector units and widths that do not; more rows than threads.
TEST(T5Steps, AncestorsAreReadThroughTheIndex) {
  for (const int64_t width : {3, 16, 37, 64}) {
    const int64_t heads = 2;
    std::vector<at::Tensor> past, ancestry;
    for (const int64_t rows : {2, 5, 7, 7}) {
      past.push_back(at::randn({rows, 3, heads, width}, at::kDouble));
      ancestry.push_back(at::randint(0, rows, {7}, at::kLong));
    }
    ancestry.back() = at::arange(7);
    const at::Tensor ancestors = at::stack(ancestry), bias = at::randn({heads, 4}, at::kDouble);
    std::vector<at::Tensor> want;  // one row and head at a time
    for (int64_t row = 0; row < 7; ++row) {
      for (int64_t h = 0; h < heads; ++h) {
        std::vector<at::Tensor> scores, values;
        for (int64_t t = 0; t < 4; ++t) {
          const at::Tensor from =
              past[static_cast<size_t>(t)][ancestry[static_cast<size_t>(t)][row].item<int64_t>()];
          scores.push_back((past[3][row][0][h] * from[1][h]).sum() + bias[h][t]);
          values.push_back(from[2][h]);
        }
        const at::Tensor weights = at::softmax(at::stack(scores), 0);
        want.push_back((weights.unsqueeze(1) * at::stack(values)).sum(0));
      }
    }
    const at::Tensor wanted = at::stack(want).view({7, heads * width});
    EXPECT_LT(Difference(ReadAncestors(past, ancestors, bias), wanted), 1e-12);
    // A score sums `width` products, and a weight moves by as much as its score: some roundings of
    // each, whatever the order.
    const double bound = static_cast<double>(16 + width) * 0x1p-22;
    std::vector<at::Tensor> single;
    for (const at::Tensor& step : past) single.push_back(step.to(at::kFloat));
    for (const int threads : {1, 3}) {
      at::set_num_threads(threads);
      EXPECT_LT(Difference(ReadAncestors(single, ancestors, bias.to(at::kFloat)), wanted), bound);
    }
    at::set_num_threads(1);
  }
}

TEST(T5Trees, NodesEqualTheirPathsAlone) {
  const c10::NoGradGuard no_grad;
  const std::vector<TokenTree> trees = {
      {.tokens = {0, 5, 9, 9, 11, 5}, .parents = {-1, 0, 1, 0, 1, 4}},
      {.tokens = {0}, .parents = {-1}},
      {.tokens = {0, 3, 4, 6, 7, 8, 3, 2}, .parents = {-1, 0, 1, 2, 3, 0, 5, 1}}};
  for (const char* form : {"t5", "t5_v11"}) {
    for (const bool masked : {false, true}) {
      T5Golden golden(form);
      const at::Tensor memory = golden.Memory();
      std::optional<at::Tensor> mask;
      if (masked) mask = golden.Mask();
      const at::Tensor logits = golden.model.DecodeTrees(trees, memory, mask);
      EXPECT_EQ(logits.sizes(), at::IntArrayRef({3, 8, 64}));
      for (int64_t b = 0; b < 3; ++b) {
        const TokenTree& tree = trees[static_cast<size_t>(b)];
        for (size_t n = 0; n < tree.tokens.size(); ++n) {
          std::vector<int64_t> path;
          for (auto m = static_cast<int64_t>(n); m >= 0; m = tree.parents[static_cast<size_t>(m)])
            path.insert(path.begin(), tree.tokens[static_cast<size_t>(m)]);
          std::optional<at::Tensor> own_mask;
          if (mask) own_mask = mask->narrow(0, b, 1);
          const at::Tensor alone = golden.model.Decode(at::tensor(path).unsqueeze(0),
                                                       memory.narrow(0, b, 1), own_mask, {});
          EXPECT_LT(Difference(logits[b][static_cast<int64_t>(n)], alone[0][-1]),
                    golden.LogitBound());
        }
      }
    }
  }
}

}  // namespace
}  // namespace whyrec::lm
