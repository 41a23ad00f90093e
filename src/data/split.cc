#include "src/data/split.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/data/clean_text.h"
#include "src/data/parts_h5.h"
#include "src/data/samplers.h"

namespace whyrec::data {
namespace {

using config::SplitConfig;

// 1, 2, ... in the order in which the rows first appear in `walk`; rows that never do come last.
std::vector<int64_t> ByFirstAppearance(const std::vector<int64_t>& walk, int64_t rows) {
  std::vector<int64_t> numbers(static_cast<size_t>(rows), 0);
  int64_t next = 1;
  for (int64_t row : walk)
    if (int64_t& number = numbers[static_cast<size_t>(row)]; number == 0) number = next++;
  for (int64_t& number : numbers)
    if (number == 0) number = next++;
  return numbers;
}

std::vector<int64_t> Numbers(SplitConfig::Numbering how, int64_t rows, Rng rng,
                             const std::vector<int64_t>& walk) {
  if (how == SplitConfig::FIRST_APPEARANCE) return ByFirstAppearance(walk, rows);
  std::vector<int64_t> numbers(static_cast<size_t>(rows));
  std::iota(numbers.begin(), numbers.end(), 1);
  if (how == SplitConfig::PERMUTED) rng.Shuffle(numbers);
  return numbers;
}

// Training positions of everything that lies parallel to the histories.
void TakeTrainingPositions(const Catalogue& catalogue, TrainView& train) {
  const auto& [offsets, values] = catalogue.histories;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    train.histories.Append(row.first(row.size() - 2));
    const auto begin = offsets[static_cast<size_t>(u)],
               end = offsets[static_cast<size_t>(u) + 1] - 2;
    const auto take = [&](const auto& from, auto& to) {
      if (!from.empty()) to.insert(to.end(), from.begin() + begin, from.begin() + end);
    };
    take(catalogue.ratings, train.ratings);
    take(catalogue.reviews, train.reviews);
  }
}

struct Explanations {
  std::vector<ExplanationRecord> train, validation;
};

// explanation.json is blind to the sequence split: its pairs are sorted by what they show.
Explanations GivenExplanations(const Catalogue& catalogue) {
  std::set<std::pair<int64_t, int64_t>> held_out, tested;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    tested.emplace(u, row.back());
    held_out.emplace(u, row.back());
    held_out.emplace(u, row[row.size() - 2]);
  }
  const auto without = [](const std::vector<ExplanationRecord>& from, const auto& pairs) {
    std::vector<ExplanationRecord> out;
    std::ranges::copy_if(from, std::back_inserter(out), [&](const ExplanationRecord& record) {
      return !pairs.contains({record.user, record.item});
    });
    return out;
  };
  return {without(catalogue.explanations[0], held_out), without(catalogue.explanations[1], tested)};
}

Explanations ReviewSentences(const Catalogue& catalogue) {
  Explanations out;
  if (catalogue.reviews.empty()) return out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      const auto at = static_cast<size_t>(catalogue.histories.offsets[static_cast<size_t>(u)]) + i;
      std::string sentence = FirstSentence(catalogue.reviews[at]);
      if (sentence.empty()) continue;
      auto& part = i + 2 < row.size() ? out.train : out.validation;
      part.push_back({u, row[i], std::move(sentence)});
    }
  }
  return out;
}

// Target and negatives of every user, shuffled.
store::Ragged<int64_t> Candidates(const Catalogue& catalogue, const SplitConfig& config,
                                  const char* purpose, const std::vector<int64_t>& targets,
                                  const store::Ragged<int64_t>& given) {
  store::Ragged<int64_t> out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    Rng rng(config.negative_seed(), purpose, 0, static_cast<uint64_t>(u));
    std::vector<int64_t> row;
    if (given.rows() > 0)
      row.assign(given.row(u).begin(), given.row(u).end());
    else
      row = DrawNegatives(catalogue.item_count(), catalogue.histories.row(u),
                          config.direct_negatives(), rng);
    row.push_back(targets[static_cast<size_t>(u)]);
    rng.Shuffle(row);
    out.Append(row);
  }
  return out;
}

}  // namespace

Numbering MakeNumbering(std::vector<int64_t> user, std::vector<int64_t> item) {
  Numbering out{std::move(user), std::move(item), {}};
  const auto items = static_cast<int64_t>(out.item.size());
  out.item_row.assign(out.item.size(), -1);
  for (int64_t row = 0; row < items; ++row) {
    const int64_t number = out.item[static_cast<size_t>(row)];
    if (number < 1 || number > items || out.item_row[static_cast<size_t>(number - 1)] != -1)
      Fail(Exit::kData, "item numbers are no permutation of 1..", items, ": ", number, " of row ",
           row);
    out.item_row[static_cast<size_t>(number - 1)] = row;
  }
  return out;
}

std::optional<PublishedProtocol> PublishedProtocol::ForProfiles(
    const config::RationalesConfig& config) {
  // An unset enum reads as its first value, so only a stated one counts.
  if (config.has_history() && config.history() == config::RationalesConfig::LAST20_FULL)
    return PublishedProtocol();
  return std::nullopt;
}

std::optional<PublishedProtocol> PublishedProtocol::ForNegatives(const SplitConfig& config) {
  if (config.has_negative_exclude() && config.negative_exclude() == SplitConfig::FULL)
    return PublishedProtocol();
  return std::nullopt;
}

LabelStore::LabelStore(std::vector<int64_t> validation, std::vector<int64_t> test,
                       store::Ragged<int64_t> validation_candidates,
                       store::Ragged<int64_t> test_candidates,
                       std::vector<ExplanationRecord> validation_explanations)
    : validation_(std::move(validation)),
      test_(std::move(test)),
      validation_candidates_(std::move(validation_candidates)),
      test_candidates_(std::move(test_candidates)),
      explanations_(std::move(validation_explanations)) {}

int64_t LabelStore::Target(Phase phase, int64_t user) const {
  return (phase == Phase::kTest ? test_ : validation_).at(static_cast<size_t>(user));
}

std::span<const int64_t> LabelStore::Candidates(Phase phase, int64_t user) const {
  return (phase == Phase::kTest ? test_candidates_ : validation_candidates_).row(user);
}

std::vector<int64_t> LabelStore::InputHistory(Phase phase, const TrainView& train,
                                              int64_t user) const {
  const auto row = train.histories.row(user);
  std::vector<int64_t> out(row.begin(), row.end());
  if (phase == Phase::kTest) out.push_back(Target(Phase::kValidation, user));
  return out;
}

store::Ragged<int64_t> LabelStore::FullHistories(const PublishedProtocol&,
                                                 const TrainView& train) const {
  store::Ragged<int64_t> out;
  for (int64_t u = 0; u < user_count(); ++u) {
    std::vector<int64_t> row = InputHistory(Phase::kTest, train, u);
    row.push_back(Target(Phase::kTest, u));
    out.Append(row);
  }
  return out;
}

void CheckLengths(const Catalogue& catalogue) {
  for (int64_t u = 0; u < catalogue.user_count(); ++u)
    if (catalogue.histories.row(u).size() < 3)
      Fail(Exit::kData, "user ", catalogue.users[static_cast<size_t>(u)], " has ",
           catalogue.histories.row(u).size(),
           " items; leave-one-out needs 3: set catalogue.core { min_user: 3 }");
}

Split MakeSplit(const Catalogue& catalogue, const SplitConfig& config) {
  CheckLengths(catalogue);
  Split out;
  TrainView& train = out.train;
  train.dataset = catalogue.dataset;
  train.domain = catalogue.domain;
  train.items = catalogue.items;
  train.numbers = MakeNumbering(
      Numbers(config.user_ids(), catalogue.user_count(), Rng(config.id_seed(), "ids.user"), {}),
      Numbers(config.item_ids(), catalogue.item_count(), Rng(config.id_seed(), "ids.item"),
              catalogue.histories.values));
  TakeTrainingPositions(catalogue, train);
  std::vector<int64_t> validation, test;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    validation.push_back(row[row.size() - 2]);
    test.push_back(row.back());
  }
  const bool given =
      std::ranges::any_of(catalogue.explanations, [](const auto& part) { return !part.empty(); });
  Explanations explanations = given ? GivenExplanations(catalogue) : ReviewSentences(catalogue);
  train.explanations = std::move(explanations.train);
  auto of_validation = Candidates(catalogue, config, "negatives.validation", validation, {});
  auto of_test = Candidates(catalogue, config, "negatives.test", test, catalogue.given_negatives);
  out.labels = LabelStore(std::move(validation), std::move(test), std::move(of_validation),
                          std::move(of_test), std::move(explanations.validation));
  return out;
}

}  // namespace whyrec::data
