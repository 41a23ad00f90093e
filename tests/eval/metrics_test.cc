// Metrics against closed forms and enumeration of tie orders.
#include "src/eval/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "src/base/rng.h"

namespace whyrec::eval {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(RankOf, CountsGreaterAndTiesAndMasks) {
  const std::vector<double> scores{3, 1, 2, 2, kNan, kInfinity, 2, -kInfinity};
  Rank rank = RankOf(scores, 2);
  EXPECT_EQ(rank.greater, 2);
  EXPECT_EQ(rank.ties, 2);
  EXPECT_FALSE(rank.miss);
  const std::vector<uint8_t> mask{1, 0, 1, 1, 0, 0, 0, 0};  // the target itself stays
  rank = RankOf(scores, 2, mask);
  EXPECT_EQ(rank.greater, 1);
  EXPECT_EQ(rank.ties, 1);
  EXPECT_TRUE(RankOf(scores, 4).miss);
  EXPECT_TRUE(RankOf(scores, 7).miss);
  for (Ties ties : {Ties::kPessimistic, Ties::kExpected, Ties::kOptimistic}) {
    EXPECT_EQ(HitRate(RankOf(scores, 4), 10, ties), 0);
    EXPECT_EQ(Ndcg(RankOf(scores, 4), 10, ties), 0);
  }
}

// All places that the target may take among its equals, for all small cases.
TEST(Ranks, TiePoliciesEqualEnumeration) {
  for (int64_t greater = 0; greater < 7; ++greater)
    for (int64_t ties = 0; ties < 7; ++ties)
      for (int64_t k : {1, 3, 5}) {
        const Rank rank{greater, ties, false};
        double hit = 0, ndcg = 0;
        const auto hit_at = [&](int64_t place) { return place < k ? 1.0 : 0.0; };
        const auto ndcg_at = [&](int64_t place) {
          return place < k ? 1 / std::log2(static_cast<double>(place) + 2) : 0;
        };
        for (int64_t place = greater; place <= greater + ties; ++place) {
          hit += hit_at(place) / static_cast<double>(ties + 1);
          ndcg += ndcg_at(place) / static_cast<double>(ties + 1);
        }
        EXPECT_NEAR(HitRate(rank, k, Ties::kExpected), hit, 1e-12);
        EXPECT_NEAR(Ndcg(rank, k, Ties::kExpected), ndcg, 1e-12);
        EXPECT_EQ(HitRate(rank, k, Ties::kOptimistic), hit_at(greater));
        EXPECT_EQ(Ndcg(rank, k, Ties::kOptimistic), ndcg_at(greater));
        EXPECT_EQ(HitRate(rank, k, Ties::kPessimistic), hit_at(greater + ties));
        EXPECT_EQ(Ndcg(rank, k, Ties::kPessimistic), ndcg_at(greater + ties));
      }
}

TEST(Lists, VectorsOfTheSpecification) {
  const std::vector<int64_t> list{7, 3, 7};
  EXPECT_EQ(HitRate(list, 7, 3, false), 2);
  EXPECT_NEAR(Ndcg(list, 7, 3, false), 0.9197, 5e-5);
  EXPECT_EQ(HitRate(list, 7, 3, true), 1);
  EXPECT_EQ(Ndcg(list, 7, 3, true), 1);
}

TEST(Lists, DeduplicationMovesLaterItemsUp) {
  const std::vector<int64_t> list{4, 4, 4, 9};
  EXPECT_EQ(HitRate(list, 9, 2, true), 1);
  EXPECT_NEAR(Ndcg(list, 9, 2, true), 1 / std::log2(3.0), 1e-12);
  EXPECT_EQ(HitRate(list, 9, 2, false), 0);
  EXPECT_NEAR(Ndcg(list, 9, 10, false), 1 / std::log2(5.0), 1e-12);
  EXPECT_EQ(HitRate(list, 5, 10, true), 0);
  EXPECT_EQ(Ndcg(list, 5, 10, false), 0);
  EXPECT_EQ(HitRate({}, 5, 10, false), 0);
}

// Random scores give HR@1 = 1/K within 3 standard errors.
TEST(Ranks, RandomScoresHitAtChance) {
  constexpr int kUsers = 20000, kCandidates = 20;
  double hits = 0;
  for (uint64_t u = 0; u < kUsers; ++u) {
    Rng rng(9, "scores", 0, u);
    std::vector<double> scores(kCandidates);
    for (double& score : scores) score = rng.Uniform();
    hits += HitRate(RankOf(scores, 3), 1, Ties::kPessimistic);
  }
  const double p = 1.0 / kCandidates;
  EXPECT_NEAR(hits / kUsers, p, 3 * std::sqrt(p * (1 - p) / kUsers));
}

// The percentile interval of a mean tends to mean +- 1.96 standard errors.
TEST(ReciprocalRank, OverAllOrdersOfTheEquals) {
  const Rank rank{.greater = 2, .ties = 3};  // places 3 to 6
  EXPECT_DOUBLE_EQ(ReciprocalRank(rank, Ties::kPessimistic), 1.0 / 6);
  EXPECT_DOUBLE_EQ(ReciprocalRank(rank, Ties::kOptimistic), 1.0 / 3);
  EXPECT_DOUBLE_EQ(ReciprocalRank(rank, Ties::kExpected),
                   (1.0 / 3 + 1.0 / 4 + 1.0 / 5 + 1.0 / 6) / 4);
  EXPECT_EQ(ReciprocalRank({.greater = 0, .ties = 0, .miss = true}, Ties::kExpected), 0);
  const std::vector<int64_t> list = {7, 5, 9, 5};
  EXPECT_DOUBLE_EQ(ReciprocalRank(list, 5), 0.5);
  EXPECT_EQ(ReciprocalRank(list, 8), 0);
}

// Ten equal scores: HR@1 is 1/10, MRR the tenth harmonic number over ten; nothing counts as first.
TEST(Chance, OfTenCandidates) {
  const Rank chance = ChanceRank(10);
  EXPECT_DOUBLE_EQ(HitRate(chance, 1, Ties::kExpected), 0.1);
  EXPECT_EQ(HitRate(chance, 1, Ties::kPessimistic), 0);
  EXPECT_NEAR(ReciprocalRank(chance, Ties::kExpected), 0.29289682539682540, 1e-15);
  EXPECT_DOUBLE_EQ(HitRate(chance, 10, Ties::kExpected), 1);
}

TEST(Bootstrap, NormalLimit) {
  constexpr size_t kUsers = 2000;
  std::vector<double> hits(kUsers, 0.0), twice(kUsers), constant(kUsers, 0.25);
  for (size_t u = 0; u < kUsers; u += 5) hits[u] = 1;
  for (size_t u = 0; u < kUsers; ++u) twice[u] = 2 * hits[u] + 1;
  const auto intervals = Bootstrap({hits, twice, constant}, 4000, 1);
  const double half = 1.96 * std::sqrt(0.2 * 0.8 / kUsers);
  EXPECT_NEAR(intervals[0].mean, 0.2, 1e-12);
  EXPECT_NEAR(intervals[0].low, 0.2 - half, 0.08 * half);
  EXPECT_NEAR(intervals[0].high, 0.2 + half, 0.08 * half);
  EXPECT_NEAR(intervals[1].low, 2 * intervals[0].low + 1, 1e-9);  // the same resamples
  EXPECT_NEAR(intervals[1].high, 2 * intervals[0].high + 1, 1e-9);
  EXPECT_EQ(intervals[2].low, 0.25);
  EXPECT_EQ(intervals[2].high, 0.25);
  const auto again = Bootstrap({hits}, 4000, 1), other = Bootstrap({hits}, 4000, 2);
  EXPECT_EQ(again[0].low, intervals[0].low);
  EXPECT_NE(other[0].low + other[0].high, intervals[0].low + intervals[0].high);
}

TEST(Bootstrap, CoversTheTruth) {
  constexpr int kTrials = 200;
  int covered = 0;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    Rng rng(5, "trial", 0, trial);
    std::vector<double> hits(300);
    for (double& hit : hits) hit = rng.Uniform() < 0.3;
    const Interval interval = Bootstrap({hits}, 500, trial)[0];
    covered += interval.low <= 0.3 && 0.3 <= interval.high;
  }
  EXPECT_GE(covered, 176);  // 190 expected, 4.5 standard errors
}

TEST(ImpossibleCells, WarnsOnThePublishedDirectRow) {
  // ISRF's published row for Beauty, direct task.
  EXPECT_FALSE(ImpossibleCells(.6773, .5217, .7673, .5352).empty());
  EXPECT_TRUE(ImpossibleCells(.0504, .0377, .0656, .0427).empty());  // Markov, data README
  EXPECT_TRUE(ImpossibleCells(0, 0, 0, 0).empty());
  EXPECT_TRUE(ImpossibleCells(1, 1, 1, 1).empty());
  EXPECT_FALSE(ImpossibleCells(.05, .0501 + 1e-4, .06, .0533).empty());  // NDCG above HR
  EXPECT_FALSE(ImpossibleCells(.05, .019, .05, .019).empty());           // below 1/log2(6)
  EXPECT_FALSE(ImpossibleCells(.06, .05, .05, .05).empty());             // HR falls with k
}

}  // namespace
}  // namespace whyrec::eval
