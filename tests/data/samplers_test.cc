// Samplers against enumeration and uniform frequencies.
#include "src/data/samplers.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

TEST(CursorSampler, FirstPassInFileOrderThenShuffledPasses) {
  CursorSampler published(50, 3, "sequential", false), strict(50, 3, "sequential", true);
  std::vector<std::vector<int64_t>> passes;
  for (int64_t pass = 0; pass < 3; ++pass) {
    auto& order = passes.emplace_back();
    for (int64_t i = 0; i < 50; ++i) order.push_back(published.At(pass * 50 + i));
    EXPECT_EQ(std::ranges::is_sorted(order), pass == 0);
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 50u);
  }
  EXPECT_NE(passes[1], passes[2]);
  std::vector<int64_t> first;
  for (int64_t i = 0; i < 50; ++i) first.push_back(strict.At(i));
  EXPECT_FALSE(std::ranges::is_sorted(first));
}

TEST(CursorSampler, AnyRankMakesAnySample) {
  CursorSampler in_order(7, 1, "direct", true), backwards(7, 1, "direct", true);
  std::vector<int64_t> forward, reverse;
  for (int64_t draw = 0; draw < 30; ++draw) forward.push_back(in_order.At(draw));
  for (int64_t draw = 29; draw >= 0; --draw) reverse.push_back(backwards.At(draw));
  std::ranges::reverse(reverse);
  EXPECT_EQ(forward, reverse);
}

// a uniform on 0..n-4, b uniform on a+1..n-3, as POD's code draws: all pairs, at their frequencies.
TEST(SequentialSegment, PairsAndFrequencies) {
  constexpr int kDraws = 60000;
  constexpr int64_t kTraining = 5;  // n = 7: a in 0..3, b in a+1..4
  std::map<std::pair<int64_t, int64_t>, int> seen;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(1, "segment", 0, static_cast<uint64_t>(i));
    ++seen[SequentialSegment(kTraining, 21, rng)];
  }
  EXPECT_EQ(seen.size(), 10u);
  for (int64_t a = 0; a < 4; ++a)
    for (int64_t b = a + 1; b < 5; ++b) {
      const double p = 0.25 / static_cast<double>(4 - a);
      EXPECT_NEAR((seen[{a, b}]), kDraws * p, 4.5 * std::sqrt(kDraws * p * (1 - p)))
          << a << " " << b;
    }
}

TEST(SequentialSegment, CutsToTheLastEntriesAndNeedsTwo) {
  int64_t longest = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    Rng rng(1, "segment", 0, i);
    const auto [first, last] = SequentialSegment(100, 21, rng);
    ASSERT_GE(first, 0);
    ASSERT_LT(first, last);
    ASSERT_LT(last, 100);
    longest = std::max(longest, last - first + 1);
  }
  EXPECT_EQ(longest, 21);
  Rng rng(1, "segment");
  EXPECT_EQ(SequentialSegment(1, 21, rng), (std::pair<int64_t, int64_t>{-1, -1}));
  EXPECT_EQ(SequentialSegment(2, 21, rng), (std::pair<int64_t, int64_t>{0, 1}));
}

// On Beauty a sequential training sample has 2.2 input items on average.
TEST(SequentialSegment, MeanInputOfBeauty) {
  WR_SHARED_DATA(folder, "beauty");
  Facts facts;
  const Catalogue beauty = ReadP5Folder(Folder(*folder), facts);
  double inputs = 0;
  for (int64_t u = 0; u < beauty.user_count(); ++u) {
    Rng rng(1, "segment", 0, static_cast<uint64_t>(u));
    const auto [first, last] = SequentialSegment(std::ssize(beauty.histories.row(u)) - 2, 21, rng);
    inputs += static_cast<double>(last - first);
  }
  EXPECT_NEAR(inputs / static_cast<double>(beauty.user_count()), 2.2, 0.06);
}

TEST(DrawNegatives, UniformDistinctAndOutsideTheExcluded) {
  const std::vector<int64_t> excluded{7, 0, 3, 3};
  std::map<int64_t, int> seen;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(4, "negatives", 0, static_cast<uint64_t>(i));
    const auto drawn = DrawNegatives(10, excluded, 3, rng);
    ASSERT_EQ(std::set<int64_t>(drawn.begin(), drawn.end()).size(), 3u);
    for (int64_t item : drawn) ++seen[item];
  }
  EXPECT_EQ(seen.size(), 7u);
  const double p = 3.0 / 7;
  for (const auto& [item, count] : seen) {
    EXPECT_EQ(std::ranges::count(excluded, item), 0);
    EXPECT_NEAR(count, kDraws * p, 4.5 * std::sqrt(kDraws * p * (1 - p))) << item;
  }
  Rng rng(4, "negatives");
  auto all = DrawNegatives(10, excluded, 7, rng);
  std::ranges::sort(all);
  EXPECT_EQ(all, (std::vector<int64_t>{1, 2, 4, 5, 6, 8, 9}));
  EXPECT_EQ(ErrorOf([&] { DrawNegatives(10, excluded, 8, rng); }),
            "of 10 items 7 can be negatives, 8 are wanted; lower split.direct_negatives");
}

}  // namespace
}  // namespace whyrec::data
