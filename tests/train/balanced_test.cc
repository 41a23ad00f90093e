// Samples dealt over ranks and parts by length: all of them once, slices of the same sizes as ever,
// and little between the longest and the mean.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "src/base/rng.h"
#include "src/train/trainable.h"

namespace whyrec::train {
namespace {

// Most tokens of a rank over the mean, less 1: how long the others wait.
double Skew(const std::vector<std::vector<int64_t>>& dealt, const std::vector<int64_t>& tokens) {
  int64_t most = 0;
  for (const auto& places : dealt) {
    int64_t sum = 0;
    for (const int64_t place : places) sum += tokens.at(static_cast<size_t>(place));
    most = std::max(most, sum);
  }
  const auto all = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}));
  return static_cast<double>(most) * static_cast<double>(dealt.size()) / all - 1;
}

std::vector<int64_t> DrawnTokens(int64_t count, uint64_t batch) {
  Rng rng(1, "lengths", 0, batch);
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(rng.Between(200, 512));
  return tokens;
}

TEST(BalancedPart, RanksAndPartsOfEqualTokens) {
  double before = 0, after = 0, parts = 0;
  for (uint64_t batch = 0; batch < 100; ++batch) {
    const auto tokens = DrawnTokens(64, batch);
    std::vector<std::vector<int64_t>> plain, ranks;
    for (int rank = 0; rank < 8; ++rank) {
      const Slice slice = RankSlice(64, rank, 8);
      plain.emplace_back(static_cast<size_t>(slice.size()));
      std::iota(plain.back().begin(), plain.back().end(), slice.begin);
      ranks.push_back(BalancedPart(tokens, rank, 8, {}));
    }
    before = std::max(before, Skew(plain, tokens));
    after = std::max(after, Skew(ranks, tokens));
    std::vector<std::vector<int64_t>> of_one;
    for (int64_t i = 0; i < 8; ++i)
      of_one.push_back(BalancedPart(tokens, 0, 1, {.index = i, .count = 8}));
    parts = std::max(parts, Skew(of_one, tokens));
  }
  std::printf("64 samples over 8 ranks, skew at worst: %.1f %%, dealt %.2f %%; parts %.2f %%\n",
              100 * before, 100 * after, 100 * parts);
  EXPECT_GT(before, 0.1);
  EXPECT_LT(after, 0.03);
  EXPECT_LT(parts, 0.03);
}

TEST(BalancedPart, EverySampleOnceInSlicesOfTheirSizes) {
  for (const int64_t count : {5, 7, 16})
    for (const int ranks : {1, 2, 3, 5}) {
      const auto tokens = DrawnTokens(count, 3);
      std::vector<int64_t> all;
      for (int rank = 0; rank < ranks; ++rank)
        for (const int64_t parts : {1, 2}) {
          const Slice own = RankSlice(count, rank, ranks);
          if (own.size() < parts) continue;
          std::vector<int64_t> mine;
          for (int64_t i = 0; i < parts; ++i) {
            const Part part{.index = i, .count = parts};
            const auto places = BalancedPart(tokens, rank, ranks, part);
            EXPECT_EQ(std::ssize(places), PartSlice(own, part).size());
            EXPECT_TRUE(std::ranges::is_sorted(places));
            mine.insert(mine.end(), places.begin(), places.end());
          }
          std::ranges::sort(mine);
          EXPECT_EQ(mine, BalancedPart(tokens, rank, ranks, {}));
          if (parts == 1) all.insert(all.end(), mine.begin(), mine.end());
        }
      std::ranges::sort(all);
      std::vector<int64_t> want(static_cast<size_t>(count));
      std::iota(want.begin(), want.end(), 0);
      EXPECT_EQ(all, want) << count << " over " << ranks;
    }
}

}  // namespace
}  // namespace whyrec::train
