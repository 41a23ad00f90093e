// The planted signal: a reader of the reviews comes near the ceiling, everything else is at chance.
#include "src/data/planted.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "src/base/hash.h"
#include "src/config/run_config.h"
#include "src/data/count_models.h"
#include "src/data/split.h"
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

constexpr int64_t kCandidates = 10;

config::PlantedConfig Config() {
  config::PlantedConfig config;
  config.set_users(3000);
  return config;
}

Split SplitOf(const Catalogue& catalogue) {
  config::SplitConfig config;
  config.set_direct_negatives(kCandidates - 1);
  config.set_train_candidates(true);
  config.set_item_ids(config::SplitConfig::PERMUTED);
  config.set_user_ids(config::SplitConfig::PERMUTED);
  config.set_negative_exclude(config::SplitConfig::TRAIN_ONLY);
  return MakeSplit(catalogue, config);
}

std::string TasteOf(const Item& item) { return item.title.substr(0, item.title.find(' ')); }

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (char c : text + " ") {
    if (std::isalpha(static_cast<unsigned char>(c)))
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!word.empty())
      words.push_back(std::exchange(word, ""));
  }
  return words;
}

// One question: which candidate comes after these events?
struct Question {
  std::vector<Interaction> history;
  std::vector<int64_t> candidates;
  int64_t target;
};

// kValidation, kTest, or training (none).
std::vector<Question> Questions(const Split& split, std::optional<Phase> phase) {
  std::vector<Question> out;
  for (int64_t user = 0; user < split.train.user_count(); ++user) {
    auto events = split.labels.InputEvents(phase.value_or(Phase::kValidation), split.train, user);
    const auto row =
        phase ? split.labels.Candidates(*phase, user) : split.train.candidates.row(user);
    int64_t target = phase ? split.labels.Target(*phase, user) : events.back().item;
    if (!phase) events.pop_back();
    out.push_back({std::move(events), {row.begin(), row.end()}, target});
  }
  return out;
}

// HR@1 of the best-scored candidate, ties at their expectation.
double HitRate(const std::vector<Question>& questions,
               const std::function<double(const Question&, int64_t item)>& score) {
  double sum = 0;
  for (const Question& question : questions) {
    std::vector<double> scores;
    for (int64_t item : question.candidates) scores.push_back(score(question, item));
    const double best = *std::ranges::max_element(scores);
    const auto ties = static_cast<double>(std::ranges::count(scores, best));
    if (score(question, question.target) == best) sum += 1 / ties;
  }
  return sum / static_cast<double>(questions.size());
}

// The taste word in the most reviews, then the most frequent, then the most recent: no more than a
// writer of reasons that counts words would know.
std::string MostWished(const std::vector<Interaction>& history) {
  std::map<std::string, std::tuple<int, int, size_t>> uses;
  for (size_t i = 0; i < history.size(); ++i) {
    std::set<std::string> here;
    for (const std::string& word : Words(history[i].review)) {
      if (std::ranges::find(PlantedTastes(), word) == PlantedTastes().end()) continue;
      auto& [reviews, times, last] = uses[word];
      reviews += here.insert(word).second;
      ++times;
      last = i;
    }
  }
  std::string best;
  for (const auto& [word, use] : uses)
    if (best.empty() || use > uses[best]) best = word;
  return best;
}

class Planted : public ::testing::TestWithParam<std::optional<Phase>> {
 protected:
  const Split split_ = SplitOf(MakePlanted(Config()));
  const std::vector<Question> questions_ = Questions(split_, GetParam());
  const double error_ = 0.5 / std::sqrt(3000.0);  // standard error of a hit rate, at most
  const double chance_error_ = std::sqrt(0.09 / 3000.0);

  const std::string Taste(int64_t item) const {
    return TasteOf(split_.train.items[static_cast<size_t>(item)]);
  }
  void ExpectChance(const char* name,
                    const std::function<double(const Question&, int64_t)>& score) const {
    EXPECT_NEAR(HitRate(questions_, score), 1.0 / kCandidates, 3.5 * chance_error_) << name;
  }
};

TEST_P(Planted, ReviewsTellUpToTheCeiling) {
  const double ceiling = PlantedCeiling(Config(), kCandidates);
  EXPECT_NEAR(ceiling, 0.873855, 1e-6);  // 3 (1 - C(290, 10) / C(300, 10))
  const double knowing = HitRate(questions_, [&](const Question& question, int64_t item) {
    return Taste(item) == Taste(question.target) ? 1 : 0;
  });
  EXPECT_NEAR(knowing, ceiling, 3 * error_);
  std::map<const Question*, std::string> wished;
  for (const Question& question : questions_) wished[&question] = MostWished(question.history);
  const double reading = HitRate(questions_, [&](const Question& question, int64_t item) {
    return Taste(item) == wished[&question] ? 1 : 0;
  });
  RecordProperty("reading", std::to_string(reading));
  EXPECT_GT(reading, ceiling - 0.06);
  // The last review alone names the taste of the target three times.
  for (const Question& question : questions_) {
    const auto words = Words(question.history.back().review);
    EXPECT_GE(std::ranges::count(words, Taste(question.target)), 3);
    for (size_t back = 2; back <= 3; ++back)
      EXPECT_GE(std::ranges::count(Words(question.history[question.history.size() - back].review),
                                   Taste(question.target)),
                4 - static_cast<int64_t>(back));
  }
}

TEST_P(Planted, NothingElseTells) {
  const auto in_history = [&](const Question& question, int64_t item) {
    double same = 0;
    for (const Interaction& event : question.history) same += Taste(event.item) == Taste(item);
    return same;
  };
  ExpectChance("titles: a taste again", in_history);
  ExpectChance("titles: another taste",
               [&](const Question& q, int64_t item) { return -in_history(q, item); });
  ExpectChance("titles: the last taste", [&](const Question& q, int64_t item) {
    return Taste(q.history.back().item) == Taste(item) ? 1 : 0;
  });
  const auto popularity = Popularity(split_.train.histories, split_.train.item_count());
  // The training target itself counts once in what it is looked for in.
  if (GetParam()) {
    ExpectChance("popular", [&](const Question&, int64_t item) { return popularity[item]; });
    ExpectChance("unpopular", [&](const Question&, int64_t item) { return -popularity[item]; });
    const Markov markov(split_.train.histories, split_.train.item_count());
    std::map<const Question*, std::vector<double>> scores;
    for (const Question& q : questions_) scores[&q] = markov.Scores(q.history.back().item);
    ExpectChance("Markov", [&](const Question& q, int64_t item) { return scores[&q][item]; });
  }
  ExpectChance("early rows", [&](const Question&, int64_t item) { return -item; });
  ExpectChance("near rows", [&](const Question& q, int64_t item) {
    return -std::abs(item - q.history.back().item);
  });
  ExpectChance("ratings", [&](const Question& q, int64_t item) {
    return std::fmod(static_cast<double>(item) + q.history.back().rating, 3);
  });
}

// Words besides the tastes recur in reviews only as function words.
TEST_P(Planted, NoOtherWordIsInAsManyReviews) {
  const std::set<std::string> common{
      "what",   "i",   "want",  "next",  "is",     "am",    "still", "looking", "for",  "it",
      "really", "has", "to",    "be",    "now",    "would", "love",  "some",    "time", "should",
      "just",   "try", "after", "that",  "nice",   "then",  "have",  "later",   "on",   "can",
      "and",    "one", "day",   "too",   "at",     "last",  "there", "the",     "my",   "a",
      "in",     "by",  "our",   "with",  "inside", "was",   "of",    "all",     "than", "old",
      "such",   "too", "but",   "never", "within", "when",  "both",  "early",   "bit",  "end"};
  int64_t recurring = 0;
  for (const Question& question : questions_) {
    std::map<std::string, int> reviews;
    for (const Interaction& event : question.history) {
      const auto words = Words(event.review);
      for (const std::string& word : std::set<std::string>(words.begin(), words.end()))
        if (!common.contains(word) &&
            std::ranges::find(PlantedTastes(), word) == PlantedTastes().end())
          ++reviews[word];
    }
    for (const auto& [word, count] : reviews) {
      EXPECT_EQ(count, 1) << word;
      recurring += count > 1;
    }
  }
  EXPECT_EQ(recurring, 0);
}

INSTANTIATE_TEST_SUITE_P(Splits, Planted,
                         ::testing::Values(std::nullopt, Phase::kValidation, Phase::kTest),
                         [](const auto& info) {
                           return std::string(!info.param                   ? "Training"
                                              : *info.param == Phase::kTest ? "Test"
                                                                            : "Validation");
                         });

// The ceiling in closed form against all 10-choose-4 candidate sets of a small world.
TEST(PlantedCeiling, EqualsTheMeanOverAllSubsets) {
  config::PlantedConfig config;
  config.set_tastes(5);
  config.set_items_per_taste(2);
  double tastes = 0;
  int subsets = 0;
  for (unsigned set = 0; set < 1u << 10; ++set) {
    if (__builtin_popcount(set) != 4) continue;
    std::set<int> held;
    for (int item = 0; item < 10; ++item)
      if (set >> item & 1) held.insert(item / 2);
    tastes += static_cast<double>(held.size());
    ++subsets;
  }
  EXPECT_NEAR(PlantedCeiling(config, 4), tastes / subsets / 4, 1e-12);
  EXPECT_NEAR(PlantedCeiling(config, 10), 0.5, 1e-12);
  EXPECT_NEAR(PlantedCeiling(config, 1), 1, 1e-12);
}

TEST(PlantedCatalogue, BytesAreAFunctionOfTheSeed) {
  const TemporaryFolder folder;
  const auto hash = [&](uint64_t seed) {
    config::CatalogueConfig config;
    config.mutable_planted()->set_users(50);
    config.mutable_planted()->set_seed(seed);
    Facts facts;
    const Catalogue catalogue = ReadSource(config, facts);
    EXPECT_EQ(catalogue.dataset, "planted");
    EXPECT_EQ(FactOf(facts, "best HR@1 of a reader of reviews, 10 candidates").substr(0, 5),
              "0.873");
    Save(catalogue, folder.path / "c.h5");
    return Sha256OfFile(folder.path / "c.h5");
  };
  EXPECT_EQ(hash(17), hash(17));
  EXPECT_NE(hash(17), hash(18));
}

// The shipped configuration, as far as the split.
TEST(PlantedCatalogue, Configuration) {
  const fs::path configs = fs::path(WHYREC_SOURCE_DIR) / "configs";
  const config::RunConfig config = config::Load(configs / "planted.txtpb");
  Facts facts;
  const Split split = MakeSplit(ReadSource(config.catalogue(), facts), config.split());
  EXPECT_EQ(split.train.user_count(), config.catalogue().planted().users());
  EXPECT_EQ(split.train.candidates.row(0).size(), 10u);
  EXPECT_EQ(split.labels.Candidates(Phase::kTest, 0).size(), 10u);
  EXPECT_FALSE(config::Load(configs / "demo.txtpb").catalogue().has_planted());
}

TEST(PlantedCatalogue, Shape) {
  config::PlantedConfig config;
  config.set_users(20);
  config.set_events(40);
  const Catalogue got = MakePlanted(config);
  EXPECT_EQ(got.user_count(), 20);
  EXPECT_EQ(got.item_count(), 300);
  std::set<std::string> titles, tastes;
  for (const Item& item : got.items) {
    titles.insert(item.title);
    tastes.insert(TasteOf(item));
  }
  EXPECT_EQ(titles.size(), 300u);
  EXPECT_EQ(tastes.size(), 30u);
  for (int64_t user = 0; user < 20; ++user) {
    const auto row = got.histories.row(user);
    EXPECT_EQ(std::set<int64_t>(row.begin(), row.end()).size(), 40u);
    for (size_t i = 1; i < 40; ++i)
      EXPECT_LT(got.times[static_cast<size_t>(user) * 40 + i - 1],
                got.times[static_cast<size_t>(user) * 40 + i]);
  }
  EXPECT_EQ(std::set<std::string_view>(PlantedTastes().begin(), PlantedTastes().end()).size(), 60u);
  config.set_tastes(3);
  EXPECT_EQ(
      ErrorOf([&] { MakePlanted(config); }, Exit::kUsage),
      "catalogue.planted: 40 events of a user need as many items; tastes x items_per_taste is "
      "30");
  config::CatalogueConfig both;
  both.set_folder("x");
  both.mutable_planted();
  Facts facts;
  EXPECT_EQ(ErrorOf([&] { ReadSource(both, facts); }, Exit::kUsage),
            "catalogue: name either a folder, a reviews file or `planted`");
}

}  // namespace
}  // namespace whyrec::data
