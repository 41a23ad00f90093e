// Popularity and Markov: a plain count, and the figures of the data's README.
#include "src/data/count_models.h"

#include <functional>

#include "src/base/ragged.h"
#include "src/data/samplers.h"
#include "src/data/split.h"
#include "src/eval/metrics.h"
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

using Scores = std::function<std::vector<double>(int64_t last)>;

struct LoadedParts {
  Catalogue catalogue;
  Ragged<int64_t> train, seen;  // positions 1..n-2 and 1..n-1
};

LoadedParts Load(const config::CatalogueConfig& config) {
  Facts facts;
  LoadedParts out{ReadSource(config, facts), {}, {}};
  for (int64_t u = 0; u < out.catalogue.user_count(); ++u) {
    const auto row = out.catalogue.histories.row(u);
    out.train.Append(row.first(row.size() - 2));
    out.seen.Append(row.first(row.size() - 1));
  }
  return out;
}

// HR@5, NDCG@5, HR@10, NDCG@10 of the test items among all items. With `masked` the history,
// validation item included, is left out of the list.
std::vector<double> Evaluate(const LoadedParts& parts, const Scores& scores, bool masked,
                             eval::Ties ties = eval::Ties::kExpected) {
  std::vector<double> sums(4, 0);
  std::vector<uint8_t> mask(static_cast<size_t>(parts.catalogue.item_count()), 0);
  for (int64_t u = 0; u < parts.catalogue.user_count(); ++u) {
    const auto history = parts.seen.row(u);
    if (masked)
      for (int64_t item : history) mask[static_cast<size_t>(item)] = 1;
    const eval::Rank rank =
        eval::RankOf(scores(history.back()), parts.catalogue.histories.row(u).back(), mask);
    if (masked)
      for (int64_t item : history) mask[static_cast<size_t>(item)] = 0;
    size_t at = 0;
    for (int64_t k : {5, 10}) {
      sums[at++] += eval::HitRate(rank, k, ties);
      sums[at++] += eval::Ndcg(rank, k, ties);
    }
  }
  for (double& sum : sums) sum /= static_cast<double>(parts.catalogue.user_count());
  return sums;
}

void ExpectRow(const std::vector<double>& got, const std::vector<double>& stated) {
  for (size_t i = 0; i < stated.size(); ++i)
    EXPECT_NEAR(got[i], stated[i], 0.0005) << "column " << i;
}

TEST(CountModels, CountsByHand) {
  Ragged<int64_t> histories;
  histories.Append(std::vector<int64_t>{0, 1, 2, 1});
  histories.Append(std::vector<int64_t>{0, 1});
  histories.Append(std::vector<int64_t>{0, 2});
  EXPECT_EQ(Popularity(histories, 4), (std::vector<double>{3, 3, 2, 0}));
  const Markov markov(histories, 4);
  EXPECT_EQ(markov.Scores(0),
            (std::vector<double>{3, 2 * 4 + 3, 4 + 2, 0}));  // largest popularity 3
  EXPECT_EQ(markov.Scores(3), (std::vector<double>{3, 3, 2, 0}));
}

struct Stated {
  const char* name;
  std::vector<double> popularity, popularity_masked, markov, markov_masked, with_validation_masked;
  // The README breaks the last ties by one random order; among 458 users that order shows. It put
  // the one target of Gift Cards that ties across place 5 behind its equal.
  eval::Ties markov_ties = eval::Ties::kExpected;
};

void PrintTo(const Stated& stated, std::ostream* out) { *out << stated.name; }

class ReadmeFigures : public ::testing::TestWithParam<Stated> {};

TEST_P(ReadmeFigures, Hold) {
  WR_SHARED_DATA(folder, GetParam().name);
  const LoadedParts parts =
      Load(std::string(GetParam().name) == "gift-cards" ? GiftCards(*folder) : Folder(*folder));
  const int64_t items = parts.catalogue.item_count();
  const std::vector<double> popularity = Popularity(parts.train, items);
  const auto by_popularity = [&](int64_t) { return popularity; };
  const Markov markov(parts.train, items);
  const auto by_markov = [&](int64_t last) { return markov.Scores(last); };
  ExpectRow(Evaluate(parts, by_popularity, false), GetParam().popularity);
  ExpectRow(Evaluate(parts, by_markov, false, GetParam().markov_ties), GetParam().markov);
  if (GetParam().popularity_masked.empty()) return;
  ExpectRow(Evaluate(parts, by_popularity, true), GetParam().popularity_masked);
  ExpectRow(Evaluate(parts, by_markov, true), GetParam().markov_masked);
  const Markov longer(parts.seen, items);
  ExpectRow(Evaluate(
                parts, [&](int64_t last) { return longer.Scores(last); }, true),
            GetParam().with_validation_masked);
}

INSTANTIATE_TEST_SUITE_P(All, ReadmeFigures,
                         ::testing::Values(Stated{"beauty",
                                                  {.0073, .0040, .0114, .0053},
                                                  {.0074, .0041, .0115, .0055},
                                                  {.0504, .0377, .0656, .0427},
                                                  {.0514, .0390, .0666, .0439},
                                                  {.0596, .0451, .0758, .0503}},
                                           Stated{"toys",
                                                  {.0055, .0038, .0089, .0049},
                                                  {.0055, .0038, .0090, .0049},
                                                  {.0576, .0431, .0705, .0474},
                                                  {.0585, .0439, .0706, .0479},
                                                  {.0660, .0503, .0823, .0556}},
                                           Stated{"gift-cards",
                                                  {.0742, .0443, .0983, .0520},
                                                  {},
                                                  {.2096, .1458, .3035, .1755},
                                                  {},
                                                  {},
                                                  eval::Ties::kPessimistic}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::erase(name, '-');
                           return name;
                         });

// README: 1 test item among 99 drawn ones; an own draw, so within 4 standard errors of both draws.
TEST(CountModels, PopularityAmongHundredCandidates) {
  for (const auto& [name, hr5, hr10] :
       {std::tuple("beauty", .172, .289), std::tuple("toys", .153, .240)}) {
    WR_SHARED_DATA(folder, name);
    const LoadedParts parts = Load(Folder(*folder));
    const std::vector<double> popularity = Popularity(parts.train, parts.catalogue.item_count());
    config::SplitConfig config;
    config.set_item_ids(config::SplitConfig::PERMUTED);
    const Split split = MakeSplit(parts.catalogue, config);
    double at5 = 0, at10 = 0;
    const int64_t users = split.labels.user_count();
    for (int64_t u = 0; u < users; ++u) {
      const int64_t target = split.labels.Target(Phase::kTest, u);
      std::vector<double> scores;
      int64_t place = -1;
      for (int64_t item : split.labels.Candidates(Phase::kTest, u)) {
        if (item == target) place = std::ssize(scores);
        scores.push_back(popularity[static_cast<size_t>(item)]);
      }
      const eval::Rank rank = eval::RankOf(scores, place);
      at5 += eval::HitRate(rank, 5, eval::Ties::kExpected);
      at10 += eval::HitRate(rank, 10, eval::Ties::kExpected);
    }
    EXPECT_NEAR(at5 / static_cast<double>(users), hr5, .012) << name;
    EXPECT_NEAR(at10 / static_cast<double>(users), hr10, .012) << name;
  }
}

}  // namespace
}  // namespace whyrec::data
