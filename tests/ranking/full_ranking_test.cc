// The tiled evaluator against ranks and lists made one query at a time on the host.
#include "src/ranking/full_ranking.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "src/base/rng.h"

namespace whyrec::ranking {
namespace {

// Few distinct scores, so that there are ties, and some NaN.
std::vector<double> DrawnScores(int64_t query, int64_t items) {
  Rng rng(5, "scores", 0, static_cast<uint64_t>(query));
  std::vector<double> out;
  for (int64_t i = 0; i < items; ++i)
    out.push_back(rng.Below(20) == 0 ? std::nan("") : static_cast<double>(rng.Below(12)));
  return out;
}

class Given final : public Recommender {
 public:
  explicit Given(int64_t items) : items_(items) {}
  Facts Train(TrainContext&) override { return {}; }
  void Load(const std::filesystem::path&) override {}
  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    std::vector<Prediction> out;
    for (const Query& query : queries) out.push_back({DrawnScores(query.user, items_), {}});
    return out;
  }

 private:
  int64_t items_;
};

TEST(FullRanking, TilesGiveWhatWholeRowsGive) {
  constexpr int64_t kItems = 57, kQueries = 40;
  std::vector<Query> queries;
  std::vector<int64_t> targets;
  Rng rng(1, "queries");
  for (int64_t q = 0; q < kQueries; ++q) {
    Query query{q, {}, {}};
    for (int i = 0; i < 6; ++i) query.history.push_back(static_cast<int64_t>(rng.Below(kItems)));
    // Sometimes the target is in the history: it counts all the same.
    targets.push_back(q % 5 == 0 ? query.history[0] : static_cast<int64_t>(rng.Below(kItems)));
    queries.push_back(query);
  }
  const TileScores tile = [&](Range items) {
    std::vector<float> values;
    for (const Query& query : queries) {
      const auto row = DrawnScores(query.user, kItems);
      values.insert(values.end(), row.begin() + items.begin, row.begin() + items.end);
    }
    return at::tensor(values).view({kQueries, items.size()});
  };
  for (const bool mask : {true, false}) {
    for (const int64_t list : {0, 1, 10, 100}) {
      const RankOptions options{.mask_history = mask, .list = list};
      const auto want = Given(kItems).Rank(Task::kSequential, queries, targets, options);
      for (const int64_t width : {int64_t{1}, int64_t{7}, kItems}) {
        const auto got = RankTiles(tile, queries, targets, kItems, options, width);
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < got.size(); ++i) {
          EXPECT_EQ(got[i].rank->miss, want[i].rank->miss);
          EXPECT_EQ(got[i].rank->greater, want[i].rank->greater);
          EXPECT_EQ(got[i].rank->ties, want[i].rank->ties);
          EXPECT_EQ(got[i].list, want[i].list) << "tiles of " << width;
        }
      }
    }
  }
}

TEST(FullRanking, NoQueriesNoAnswers) {
  // The tiles are walked all the same: other ranks may have queries.
  int64_t tiles = 0;
  const auto count = [&](Range items) {
    ++tiles;
    return at::zeros({0, items.size()});
  };
  EXPECT_TRUE(RankTiles(count, {}, {}, 9, {}, 9).empty());
  EXPECT_EQ(tiles, 1);
  EXPECT_TRUE(RankTiles(count, {}, {}, 9, {}, 4).empty());
  EXPECT_EQ(tiles, 1 + 2 * 3);
  EXPECT_EQ(TileItems(16, 12101), 12101);
  EXPECT_LT(TileItems(64, 100'000'000), 100'000'000);
}

}  // namespace
}  // namespace whyrec::ranking
