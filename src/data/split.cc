#include "src/data/split.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/data/candidates.h"
#include "src/data/clean_text.h"

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

using PartsOfUsers = std::vector<Parts>;  // by row

PartsOfUsers AllParts(const Catalogue& catalogue, SplitConfig::HeldOut how) {
  PartsOfUsers parts;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) parts.push_back(PartsOf(catalogue, u, how));
  if (how == SplitConfig::TEXT && std::ranges::none_of(parts, &Parts::validates))
    Fail(Exit::kData, "split.held_out TEXT: one user in ten validates, but none of these ",
         parts.size(), " does; set LEAVE_TWO_OUT");
  return parts;
}

enum class Part { kTrain, kValidation, kTest };

// Place of the target in a history of `items`; -1: none. The training target needs an event before
// it.
int64_t TargetPlace(Part part, const Parts& parts, size_t items) {
  const auto training = static_cast<int64_t>(parts.training),
             last = static_cast<int64_t>(items) - 1;
  if (part == Part::kTrain) return training < 2 ? -1 : training - 1;
  if (part == Part::kTest) return parts.tests ? last : -1;
  return parts.validates ? last - 1 : -1;
}

// Training positions of everything that lies parallel to the histories.
void TakeTrainingPositions(const Catalogue& catalogue, const PartsOfUsers& parts,
                           TrainView& train) {
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    const size_t length = parts[static_cast<size_t>(u)].training;
    train.histories.Append(row.first(length));
    const auto begin = catalogue.histories.offsets[static_cast<size_t>(u)];
    const auto take = [&](const auto& from, auto& to) {
      if (from.empty()) return;
      const auto first = from.begin() + begin;
      to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(length));
    };
    take(catalogue.times, train.times);
    take(catalogue.ratings, train.ratings);
    take(catalogue.reviews, train.reviews);
  }
}

// The held-out event of every user.
HeldOut TakeHeldOut(const Catalogue& catalogue, const PartsOfUsers& parts, Part part) {
  HeldOut out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = static_cast<size_t>(u);
    const int64_t place = TargetPlace(part, parts[row], catalogue.histories.row(u).size());
    const auto at = static_cast<size_t>(catalogue.histories.offsets[row] + place);
    out.items.push_back(place < 0 ? -1 : catalogue.histories.values[at]);
    const auto take = [&](const auto& from, auto& to) {
      if (from.empty()) return;
      to.emplace_back();
      if (place >= 0) to.back() = from[at];
    };
    take(catalogue.times, out.times);
    take(catalogue.ratings, out.ratings);
    take(catalogue.reviews, out.reviews);
  }
  return out;
}

struct Explanations {
  std::vector<ExplanationRecord> train, validation;
};

// explanation.json is blind to the sequence split: its pairs are sorted by what they show.
Explanations GivenExplanations(const Catalogue& catalogue, const PartsOfUsers& parts) {
  std::set<std::pair<int64_t, int64_t>> held_out, tested;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    const Parts& of = parts[static_cast<size_t>(u)];
    if (of.tests) tested.emplace(u, row.back());
    for (const int64_t item : row.subspan(of.training)) held_out.emplace(u, item);
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

Explanations ReviewSentences(const Catalogue& catalogue, const PartsOfUsers& parts) {
  Explanations out;
  if (catalogue.reviews.empty()) return out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    const auto [training, validates, tests] = parts[static_cast<size_t>(u)];
    for (size_t i = 0; i < training + validates; ++i) {
      const auto at = static_cast<size_t>(catalogue.histories.offsets[static_cast<size_t>(u)]) + i;
      std::string sentence = FirstSentence(catalogue.reviews[at]);
      if (sentence.empty()) continue;
      auto& part = i < training ? out.train : out.validation;
      part.push_back({u, row[i], std::move(sentence)});
    }
  }
  return out;
}

constexpr const char* kPurposes[] = {"negatives.train", "negatives.validation", "negatives.test"};

// Target and negatives of every user, shuffled; empty without a target. Test negatives from the
// source replace drawn ones.
Ragged<int64_t> Candidates(const Catalogue& catalogue, const PartsOfUsers& parts,
                           const CandidateDraw& draw, const SplitConfig& config, Part part,
                           const Ragged<int64_t>& excluded) {
  const auto& given = catalogue.given_negatives;
  Ragged<int64_t> out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    Rng rng(config.negative_seed(), kPurposes[static_cast<size_t>(part)], 0,
            static_cast<uint64_t>(u));
    const auto history = catalogue.histories.row(u);
    const int64_t place = TargetPlace(part, parts[static_cast<size_t>(u)], history.size());
    std::vector<int64_t> row;
    if (place >= 0) {
      const int64_t target = history[static_cast<size_t>(place)];
      if (part == Part::kTest && given.rows() > 0) {
        row.assign(given.row(u).begin(), given.row(u).end());
        row.push_back(target);
        rng.Shuffle(row);
      } else {
        row = draw.Draw(target, excluded.row(u), history.first(static_cast<size_t>(place)), rng);
      }
    }
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
      Fail(Exit::kData, "item numbers are not a permutation of 1..", items, ": ", number,
           " of row ", row);
    out.item_row[static_cast<size_t>(number - 1)] = row;
  }
  return out;
}

Parts PartsOf(const std::string& id, size_t items, SplitConfig::HeldOut how) {
  if (items < kLeastItems) return {.training = items};
  constexpr size_t kDigits = 8;
  const bool validates = how == SplitConfig::LEAVE_TWO_OUT ||
                         std::stoull(Sha256Of(id).substr(0, kDigits), nullptr, 16) % 10 == 0;
  return {.training = items - 1 - validates, .validates = validates, .tests = true};
}

Split MakeSplit(const Catalogue& source, const SplitConfig& config) {
  CheckDrawnBySplit(config);
  const Catalogue catalogue = ApplyShortUsers(source, config.short_users());
  const PartsOfUsers parts = AllParts(catalogue, config.held_out());
  Split out;
  TrainView& train = out.train;
  train.dataset = catalogue.dataset;
  train.domain = catalogue.domain;
  train.items = catalogue.items;
  train.numbers = MakeNumbering(
      Numbers(config.user_ids(), catalogue.user_count(), Rng(config.id_seed(), "ids.user"), {}),
      Numbers(config.item_ids(), catalogue.item_count(), Rng(config.id_seed(), "ids.item"),
              catalogue.histories.values));
  TakeTrainingPositions(catalogue, parts, train);
  const bool given =
      std::ranges::any_of(catalogue.explanations, [](const auto& part) { return !part.empty(); });
  Explanations explanations =
      given ? GivenExplanations(catalogue, parts) : ReviewSentences(catalogue, parts);
  train.explanations = std::move(explanations.train);
  HeldOut validation = TakeHeldOut(catalogue, parts, Part::kValidation),
          test = TakeHeldOut(catalogue, parts, Part::kTest);
  // Ratings and reviews of test items are dropped: nothing may use them.
  test.ratings.clear();
  test.reviews.clear();
  const CandidateDraw draw(catalogue, train.histories, config);
  const auto candidates = [&](Part part, const Ragged<int64_t>& excluded) {
    return Candidates(catalogue, parts, draw, config, part, excluded);
  };
  validation.candidates = candidates(Part::kValidation, catalogue.histories);
  test.candidates = candidates(Part::kTest, catalogue.histories);
  if (config.train_candidates()) {
    const bool full = PublishedProtocol::ForNegatives(config).has_value();
    train.candidates = candidates(Part::kTrain, full ? catalogue.histories : train.histories);
  }
  out.labels =
      LabelStore(std::move(validation), std::move(test), std::move(explanations.validation));
  return out;
}

}  // namespace whyrec::data
