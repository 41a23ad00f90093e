// Samplers: windows, targets and uniform draws, by counting.
#include "src/ranking/samplers.h"
#include "src/base/ragged.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "src/base/error.h"

namespace whyrec::ranking {
namespace {

using Histories = std::vector<std::vector<int64_t>>;

Ragged<int64_t> Rows(const Histories& histories) {
  Ragged<int64_t> out;
  for (const auto& history : histories) out.Append(history);
  return out;
}

std::vector<int64_t> Row(const Ragged<int64_t>& rows, int64_t i) {
  return {rows.row(i).begin(), rows.row(i).end()};
}

// With replacement: user 1 has no target and is never drawn. A window is the newest events; each
// target is the event after its own.
TEST(NextItem, SamplesAreWindowsWithUniformUsersAndNegatives) {
  const auto histories = Rows({{0, 1, 2, 3, 4, 5}, {6}, {5, 5}, {2, 7, 0}});
  const auto sampler = NextItem(histories, histories, 10, {.name = "test", .seed = 3, .length = 4});
  constexpr int64_t kDraws = 9000;
  const Examples all = sampler->Draw(0, kDraws);
  std::map<int64_t, int> users, negatives;
  ASSERT_EQ(all.size(), kDraws);
  size_t target = 0;
  for (int64_t b = 0; b < kDraws; ++b) {
    const auto row = histories.row(all.users[b]);
    const auto inputs = all.inputs.row(b), positives = all.positives.row(b);
    ++users[all.users[b]];
    ASSERT_EQ(inputs.size(), std::min<size_t>(4, row.size() - 1));
    ASSERT_EQ(positives.size(), inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i, ++target) {
      const size_t event = row.size() - 1 - inputs.size() + i;
      ASSERT_EQ(inputs[i], row[event]);
      ASSERT_EQ(positives[i], row[event + 1]);
      ASSERT_EQ(std::ranges::count(row, all.negatives[target]), 0);
      if (all.users[b] == 3) ++negatives[all.negatives[target]];
    }
  }
  // Five standard deviations of the counts.
  EXPECT_EQ(users.size(), 3u);
  for (const int64_t user : {0, 2, 3}) EXPECT_NEAR(users[user], kDraws / 3, 5 * 45) << user;
  EXPECT_EQ(negatives.size(), 7u);
  for (const auto& [item, count] : negatives) EXPECT_NEAR(count, 6000 / 7, 5 * 28) << item;
  EXPECT_EQ(sampler->CountTargets(0, kDraws), all.targets());
  const Examples slice = sampler->Draw(100, 103);
  const int64_t first = all.positives.offsets[100];
  for (size_t i = 0; i < slice.negatives.size(); ++i)
    EXPECT_EQ(slice.negatives[i], all.negatives[static_cast<size_t>(first) + i]);
}

TEST(NextItem, EveryUserOncePerPass) {
  const auto histories = Rows({{0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}});
  const auto sampler = NextItem(histories, histories, 9,
                                {.name = "test", .seed = 3, .length = 6, .every_user = true});
  for (int64_t pass = 0; pass < 5; ++pass)
    EXPECT_EQ(sampler->Draw(4 * pass, 4 * pass + 4).targets(), 1 + 2 + 3 + 4);
}

TEST(NextItem, WhatCannotBeSampledIsAnError) {
  const auto single = Rows({{0}, {1}}), full = Rows({{0, 1, 2}});
  EXPECT_THROW(NextItem(single, single, 9, {.name = "test"}), Error);
  EXPECT_THROW(NextItem(full, full, 3, {.name = "test"}), Error);
}

TEST(Prefix, EveryBeginningOncePerPass) {
  const auto histories = Rows({{4, 1, 2, 3}, {6}, {5, 0}});
  const auto sampler =
      Prefix(histories, histories, 10, {.name = "test", .seed = 1, .length = 2, .negatives = 3});
  EXPECT_EQ(sampler->EpochSteps(3), 2);  // 4 samples
  const std::map<std::vector<int64_t>, int64_t> want = {
      {{4}, 1}, {{4, 1}, 2}, {{1, 2}, 3}, {{5}, 0}};
  for (int64_t pass = 0; pass < 3; ++pass) {
    const Examples all = sampler->Draw(4 * pass, 4 * pass + 4);
    std::map<std::vector<int64_t>, int64_t> got;
    for (int64_t b = 0; b < 4; ++b) got[Row(all.inputs, b)] = all.positives.row(b)[0];
    EXPECT_EQ(got, want);
    EXPECT_EQ(std::ssize(all.negatives), 12);
  }
}

TEST(Window, ReadsARunAndPredictsTheNextTogether) {
  const auto histories = Rows({{4, 1, 2, 3, 0}, {5, 0}});
  const auto sampler =
      Window(histories, histories, 10, 2, {.name = "test", .seed = 1, .length = 2});
  const Examples all = sampler->Draw(0, 3);
  std::map<std::vector<int64_t>, std::vector<int64_t>> got;
  for (int64_t b = 0; b < 3; ++b) got[Row(all.inputs, b)] = Row(all.positives, b);
  EXPECT_EQ(got, (std::map<std::vector<int64_t>, std::vector<int64_t>>{
                     {{4}, {1, 2}}, {{4, 1}, {2, 3}}, {{1, 2}, {3, 0}}}));
}

TEST(Pair, DrawsAreUniformAndNoneIsExcluded) {
  Ragged<int64_t> positives, excluded;
  for (int64_t u = 0; u < 4; ++u) {
    positives.Append(std::vector<int64_t>{u, u + 1});
    excluded.Append(std::vector<int64_t>{9});
  }
  const auto sampler = Pair(positives, excluded, 10, 3);
  constexpr int64_t kDraws = 28000;
  const Examples all = sampler->Draw(0, kDraws);
  std::map<int64_t, int> users, negatives;
  int first = 0;
  for (size_t i = 0; i < kDraws; ++i) {
    const int64_t u = all.users[i], n = all.negatives[i], liked = all.positives.values[i];
    ++users[u];
    if (u == 0) ++negatives[n];
    EXPECT_TRUE(liked == u || liked == u + 1);
    first += liked == u;
    EXPECT_TRUE(n != u && n != u + 1 && n < 9);
  }
  // Five standard deviations of the counts.
  EXPECT_EQ(users.size(), 4u);
  for (const auto& [user, count] : users) EXPECT_NEAR(count, kDraws / 4, 5 * 73) << user;
  EXPECT_NEAR(first, kDraws / 2, 5 * 84);
  EXPECT_EQ(negatives.size(), 7u);
  for (const auto& [item, count] : negatives) EXPECT_NEAR(count, kDraws / 28, 5 * 32) << item;
  const Examples slice = sampler->Draw(100, 103);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(slice.negatives[i], all.negatives[100 + i]);
}

TEST(PopularNegatives, FollowTheirProbabilities) {
  const auto histories = Rows({{0, 1}, {1, 2}, {1, 3, 1}});
  const PopularNegatives popular(histories, 5, 0.5);  // counts + 1: 2, 5, 2, 2, 1
  const double sum = 3 * std::sqrt(2.0) + std::sqrt(5.0) + 1;
  EXPECT_NEAR(popular.LogProbability(1), std::log(std::sqrt(5.0) / sum), 1e-12);
  EXPECT_NEAR(popular.LogProbability(4), std::log(1 / sum), 1e-12);
  Rng rng(1, "popular");
  constexpr int kDraws = 20000;
  std::vector<int> counts(5);
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(popular.Draw(rng))];
  for (int64_t item = 0; item < 5; ++item) {
    const double p = std::exp(popular.LogProbability(item));
    EXPECT_NEAR(counts[static_cast<size_t>(item)], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)));
  }
}

}  // namespace
}  // namespace whyrec::ranking
