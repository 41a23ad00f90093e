// Candidates: what may never be drawn, by exhaustion over many draws; distributions by counting.
#include "src/data/candidates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "src/base/ragged.h"
#include "src/data/samplers.h"
#include "src/data/split.h"
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

using config::SplitConfig;

Catalogue Titled(const std::vector<std::string>& titles) {
  Catalogue out;
  for (const std::string& title : titles) {
    Item& item = out.items.emplace_back();
    item.id = title;
    item.title = title;
  }
  return out;
}

SplitConfig Config(SplitConfig::Candidates how, int negatives, bool distinct = false) {
  SplitConfig config;
  config.set_candidates(how);
  config.set_direct_negatives(negatives);
  config.set_distinct_titles(distinct);
  return config;
}

Ragged<int64_t> OneRow(const std::vector<int64_t>& items) {
  Ragged<int64_t> out;
  out.Append(items);
  return out;
}

// How often each item is among the candidates of target 0, over many draws.
std::vector<int64_t> Counts(const CandidateDraw& draw, int64_t items,
                            const std::vector<int64_t>& excluded,
                            const std::vector<int64_t>& history, int draws) {
  std::vector<int64_t> counts(static_cast<size_t>(items), 0);
  for (int i = 0; i < draws; ++i) {
    Rng rng(1, "test", 0, static_cast<uint64_t>(i));
    for (int64_t item : draw.Draw(0, excluded, history, rng)) ++counts[static_cast<size_t>(item)];
  }
  return counts;
}

TEST(Uniform, AsBeforeWhereNoTitleIsShared) {
  std::vector<std::string> titles;
  for (int i = 0; i < 40; ++i) titles.push_back(Cat("title ", i));
  const Catalogue catalogue = Titled(titles);
  const std::vector<int64_t> excluded{0, 7, 9};
  for (bool distinct : {false, true}) {
    const CandidateDraw draw(catalogue, {}, Config(SplitConfig::UNIFORM, 9, distinct));
    for (uint64_t user = 0; user < 50; ++user) {
      Rng ours(5, "x", 0, user), plain(5, "x", 0, user);
      std::vector<int64_t> expected = DrawNegatives(40, excluded, 9, plain);
      expected.push_back(0);
      plain.Shuffle(expected);
      EXPECT_EQ(draw.Draw(0, excluded, {}, ours), expected);
    }
  }
}

// Nine of the ten titles are in play, "Soap" is the target's.
TEST(Uniform, NoTwoCandidatesReadAlike) {
  Catalogue catalogue = Titled({"Soap", "SOAP!", "so ap", "tea", "Tea", "TEA.", "mug", "Mug ",
                                "cup", "hat", "bag", "pen", "untitled"});
  catalogue.items.back().untitled = true;
  const CandidateDraw draw(catalogue, {}, Config(SplitConfig::UNIFORM, 5, true));
  std::map<int64_t, int64_t> of_item;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(2, "test", 0, static_cast<uint64_t>(i));
    const std::vector<int64_t> row = draw.Draw(0, std::vector<int64_t>{11}, {}, rng);
    ASSERT_EQ(row.size(), 6u);
    std::set<std::string> titles;
    for (int64_t item : row) {
      const std::string& title = catalogue.items[static_cast<size_t>(item)].title;
      titles.insert(title == "so ap" ? title : title.substr(0, 3));  // Tea TEA tea: below
      ++of_item[item];
    }
    const auto has = [&](int64_t item) { return std::ranges::count(row, item); };
    ASSERT_EQ(has(0), 1);
    ASSERT_EQ(has(1) + has(11) + has(12), 0);  // reads like the target; excluded; untitled
    ASSERT_LE(has(3) + has(4) + has(5), 1);
    ASSERT_LE(has(6) + has(7), 1);
  }
  // Within a group of one title each is as likely.
  EXPECT_NEAR(of_item[3], of_item[4], 6 * std::sqrt(of_item[3]));
  EXPECT_NEAR(of_item[4], of_item[5], 6 * std::sqrt(of_item[4]));
  EXPECT_EQ(SharedTitles(catalogue.items, OneRow({0, 3, 6})), 0);
  EXPECT_EQ(SharedTitles(catalogue.items, OneRow({0, 3, 5})), 1);
  // so ap, tea, mug, cup, hat, bag: six titles are left.
  const CandidateDraw six(catalogue, {}, Config(SplitConfig::UNIFORM, 6, true));
  const CandidateDraw seven(catalogue, {}, Config(SplitConfig::UNIFORM, 7, true));
  Rng rng(3, "test");
  EXPECT_EQ(six.Draw(0, std::vector<int64_t>{11}, {}, rng).size(), 7u);
  EXPECT_EQ(ErrorOf([&] { seven.Draw(0, std::vector<int64_t>{11}, {}, rng); }),
            "of 13 items 0 can be negatives, 1 are wanted; lower split.direct_negatives");
}

// One negative of items counted 1, 2, 3 and 0 times; 8 times more is excluded.
TEST(Popularity, InProportionToTrainingCounts) {
  const Catalogue catalogue = Titled({"t", "a", "b", "c", "never", "had"});
  Ragged<int64_t> train = OneRow({0, 1, 2, 2, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5});
  const CandidateDraw draw(catalogue, train, Config(SplitConfig::POPULARITY, 1));
  constexpr int kDraws = 12000;
  const auto counts = Counts(draw, 6, {0, 5}, {}, kDraws);
  EXPECT_EQ(counts[0], kDraws);
  for (int i = 1; i <= 3; ++i)
    EXPECT_NEAR(counts[static_cast<size_t>(i)], kDraws * i / 6.0, 4 * std::sqrt(kDraws / 4.0));
  EXPECT_EQ(counts[4] + counts[5], 0);
  // Without replacement, and to the end of what is left.
  const CandidateDraw all(catalogue, train, Config(SplitConfig::POPULARITY, 3));
  EXPECT_EQ(Counts(all, 6, {0, 5}, {}, 10), (std::vector<int64_t>{10, 10, 10, 10, 0, 0}));
  const CandidateDraw more(catalogue, train, Config(SplitConfig::POPULARITY, 4));
  EXPECT_EQ(ErrorOf([&] {
              Counts(more, 6, {0, 5}, {}, 1);
            }),
            "candidates POPULARITY: 3 items of training can be negatives, 4 are wanted; lower "
            "split.direct_negatives");
}

// An item that is nearly all of training is passed over at once, not by luck.
TEST(Popularity, EndsWhereNearlyAllIsExcluded) {
  const Catalogue catalogue = Titled({"t", "a", "b"});
  std::vector<int64_t> places(200000, 1);
  places.push_back(2);
  const CandidateDraw draw(catalogue, OneRow(places), Config(SplitConfig::POPULARITY, 1));
  EXPECT_EQ(Counts(draw, 3, {0, 1}, {}, 20)[2], 20);
}

TEST(Released, FirstItemsOfTheSourceAndTheTargetMayRecur) {
  std::vector<std::string> titles;
  for (int i = 0; i < 7000; ++i) titles.push_back(Cat(i));
  Catalogue catalogue = Titled(titles);
  for (int64_t row = 0; row < 7000; ++row) catalogue.appearance.push_back(6999 - row);
  const CandidateDraw draw(catalogue, {}, Config(SplitConfig::RELEASED, 2000));
  // Item 0 appears last: it is the target, and never a negative; 7000 - 6531 = 469 rows are
  // unknown.
  const std::vector<int64_t> history{468, 469, 470};
  const auto counts = Counts(draw, 7000, {1000}, history, 60);
  EXPECT_EQ(counts[0], 60);
  for (size_t row = 1; row < 471; ++row) ASSERT_EQ(counts[row], 0) << row;
  for (size_t row = 471; row < 7000; ++row) ASSERT_GT(counts[row], 0) << row;  // .69^60 = 2e-10
  // A small catalogue without an order of its own: everything may come, the target twice.
  const CandidateDraw small(Titled({"t", "a", "b"}), {}, Config(SplitConfig::RELEASED, 1));
  const auto few = Counts(small, 3, {0, 1, 2}, {1}, 300);
  EXPECT_EQ(few[1], 0);
  EXPECT_GT(few[0], 300 + 100);
  EXPECT_EQ(few[0] + few[2], 600);
}

// Scores of 40 items, some equal, and what a plain sort of those that may be drawn puts first.
struct Ranked {
  explicit Ranked(bool distinct) {
    std::vector<std::string> titles;
    for (int i = 0; i < 40; ++i) titles.push_back(Cat("item ", i % 30));  // 30 reads like 0, ...
    catalogue = Titled(titles);
    catalogue.items[7].untitled = true;
    Rng rng(4, "scores");
    for (int i = 0; i < 40; ++i) scores.push_back(static_cast<double>(rng.Below(25)));
    for (int64_t item = 0; item < 40; ++item) {
      const bool had = std::ranges::count(excluded, item) > 0;
      const bool like_target = distinct && (item == 5 || item == 35);
      if (!had && item != 5 && item != 7 && !like_target) order.push_back(item);
    }
    std::ranges::stable_sort(order, std::greater(), [&](int64_t item) { return scores[item]; });
    std::set<int64_t> seen;
    if (distinct)
      std::erase_if(order, [&](int64_t item) { return !seen.insert(item % 30).second; });
  }

  // How often each is drawn beside target 5.
  std::vector<int64_t> Counts(const SplitConfig& config, int64_t pool, int draws) const {
    const CandidateDraw draw(catalogue, {}, config);
    std::vector<int64_t> counts(40, 0);
    for (int i = 0; i < draws; ++i) {
      Rng rng(6, "test", 0, static_cast<uint64_t>(i));
      const auto row = draw.DrawHard(5, excluded, scores, pool, rng);
      EXPECT_EQ(std::set(row.begin(), row.end()).size(), row.size());
      for (int64_t item : row) ++counts[static_cast<size_t>(item)];
    }
    return counts;
  }

  Catalogue catalogue;
  std::vector<double> scores;
  const std::vector<int64_t> excluded = {1, 2, 33};
  std::vector<int64_t> order;
};

TEST(SasrecHard, IsTheTopOfABruteForceRanking) {
  for (bool distinct : {false, true}) {
    const Ranked ranked(distinct);
    for (int count : {1, 9, 20}) {
      std::vector<int64_t> want(40, 0);
      want[5] = 3;
      for (int i = 0; i < count; ++i) want[static_cast<size_t>(ranked.order[i])] = 3;
      const auto config = Config(SplitConfig::SASREC_HARD, count, distinct);
      EXPECT_EQ(ranked.Counts(config, count, 3), want) << count;
    }
    // Of a wider pool each is as likely; what is behind it never comes.
    constexpr int kDraws = 4000, kPool = 15;
    const auto counts = ranked.Counts(Config(SplitConfig::SASREC_HARD, 4, distinct), kPool, kDraws);
    double chi_square = 0;
    for (int i = 0; i < std::ssize(ranked.order); ++i) {
      const auto count = static_cast<double>(counts[static_cast<size_t>(ranked.order[i])]);
      if (i < kPool) {
        const double expected = kDraws * 4.0 / kPool;
        chi_square += (count - expected) * (count - expected) / expected;
      } else {
        EXPECT_EQ(count, 0) << i;
      }
    }
    EXPECT_LT(chi_square, 36.1);  // 14 degrees of freedom, p = .001
    EXPECT_EQ(counts[5], kDraws);
    EXPECT_EQ(counts[7] + counts[1] + counts[2] + counts[33], 0);
  }
}

TEST(SasrecHard, SaysWhenTooFewItemsAreLeft) {
  const Ranked ranked(false);  // 40 less target, three had and one untitled
  const auto most = Config(SplitConfig::SASREC_HARD, 35),
             more = Config(SplitConfig::SASREC_HARD, 36);
  EXPECT_EQ(std::ranges::count(ranked.Counts(most, 1000, 2), 2), 36);
  EXPECT_EQ(ErrorOf([&] { ranked.Counts(more, 1000, 1); }),
            "SASREC_HARD: of 40 items 35 can be negatives, 36 are wanted; lower "
            "split.direct_negatives");
  EXPECT_EQ(ErrorOf([&] { MakeSplit(ranked.catalogue, more); }, Exit::kUsage),
            "split.candidates: SASREC_HARD needs a SASRec that is trained on the split; name it in "
            "predict.also_candidates");
}

// Four users over thirty items.
Catalogue Histories() {
  std::vector<std::string> titles;
  for (int i = 0; i < 30; ++i) titles.push_back(Cat("item ", i % 25));  // five titles twice
  Catalogue out = Titled(titles);
  for (int64_t user = 0; user < 4; ++user) {
    out.users.push_back(Cat(user));
    std::vector<int64_t> row;
    for (int64_t i = 0; i <= 3 + user; ++i) row.push_back((user * 7 + i) % 30);
    out.histories.Append(row);
  }
  return out;
}

TEST(TrainCandidates, LastTrainingItemAmongItemsOutsideTheHistory) {
  SplitConfig config;
  config.set_direct_negatives(9);
  config.set_train_candidates(true);
  config.set_item_ids(SplitConfig::PERMUTED);
  config.set_user_ids(SplitConfig::PERMUTED);
  const Catalogue catalogue = Histories();
  bool held_out_seen = false;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    config.set_negative_seed(seed);
    for (bool full : {false, true}) {
      config.set_negative_exclude(full ? SplitConfig::FULL : SplitConfig::TRAIN_ONLY);
      const Split split = MakeSplit(catalogue, config);
      ASSERT_EQ(split.train.candidates.rows(), 4);
      EXPECT_EQ(SharedTitles(split.train.items, split.train.candidates), 0);
      for (int64_t user = 0; user < 4; ++user) {
        const auto row = split.train.candidates.row(user);
        const auto history = split.train.histories.row(user);
        ASSERT_EQ(row.size(), 10u);
        EXPECT_EQ(std::ranges::count(row, history.back()), 1);
        for (int64_t item : history.first(history.size() - 1))
          EXPECT_EQ(std::ranges::count(row, item), 0);
        int64_t held_out = 0;
        for (Phase phase : {Phase::kValidation, Phase::kTest})
          held_out += std::ranges::count(row, split.labels.Target(phase, user));
        EXPECT_TRUE(!full || held_out == 0);
        held_out_seen = held_out_seen || held_out > 0;
      }
    }
  }
  EXPECT_TRUE(held_out_seen);  // what training draws does not know what is held out
  config.set_train_candidates(false);
  EXPECT_EQ(MakeSplit(catalogue, config).train.candidates.rows(), 0);
}

// The target's place among its candidates says nothing.
TEST(TrainCandidates, TargetPlacesAreUniform) {
  const Catalogue catalogue = Histories();
  SplitConfig config;
  config.set_direct_negatives(4);
  std::vector<int> places(5, 0);
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    config.set_negative_seed(seed);
    const Split split = MakeSplit(catalogue, config);
    const auto row = split.labels.Candidates(Phase::kTest, 2);
    ++places[static_cast<size_t>(std::ranges::find(row, split.labels.Target(Phase::kTest, 2)) -
                                 row.begin())];
  }
  for (int count : places) EXPECT_NEAR(count, 200, 4 * std::sqrt(160.0));
}

}  // namespace
}  // namespace whyrec::data
