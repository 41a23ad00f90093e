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
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    const size_t length = TrainingLength(row);
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

// The `back`-th event from the end of every user; item -1 for short users.
HeldOut TakeHeldOut(const Catalogue& catalogue, int64_t back) {
  HeldOut out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const bool evaluated = catalogue.histories.row(u).size() >= kLeastItems;
    const auto at =
        static_cast<size_t>(catalogue.histories.offsets[static_cast<size_t>(u) + 1] - back);
    out.items.push_back(evaluated ? catalogue.histories.values[at] : -1);
    const auto take = [&](const auto& from, auto& to) {
      if (from.empty()) return;
      to.emplace_back();
      if (evaluated) to.back() = from[at];
    };
    take(catalogue.times, out.times);
    take(catalogue.ratings, out.ratings);
    take(catalogue.reviews, out.reviews);
  }
  return out;
}

// The last training item of every user; -1 where there is none before it.
std::vector<int64_t> TrainTargets(const TrainView& train) {
  std::vector<int64_t> out;
  for (int64_t u = 0; u < train.user_count(); ++u) {
    const auto row = train.histories.row(u);
    out.push_back(row.size() < 2 ? -1 : row.back());
  }
  return out;
}

// `catalogue` without the users of some ascending rows; all items stay.
Catalogue Without(const std::vector<int64_t>& rows, const Catalogue& catalogue) {
  Catalogue out{.dataset = catalogue.dataset,
                .domain = catalogue.domain,
                .users = {},
                .items = catalogue.items,
                .histories = {},
                .times = {},
                .ratings = {},
                .reviews = {},
                .given_negatives = {},
                .explanations = {}};
  std::vector<int64_t> new_row(catalogue.users.size(), -1);
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    if (std::ranges::binary_search(rows, u)) continue;
    new_row[static_cast<size_t>(u)] = out.user_count();
    out.users.push_back(catalogue.users[static_cast<size_t>(u)]);
    out.histories.Append(catalogue.histories.row(u));
    const auto begin = catalogue.histories.offsets[static_cast<size_t>(u)],
               end = catalogue.histories.offsets[static_cast<size_t>(u) + 1];
    const auto take = [&](const auto& from, auto& to) {
      if (!from.empty()) to.insert(to.end(), from.begin() + begin, from.begin() + end);
    };
    take(catalogue.times, out.times);
    take(catalogue.ratings, out.ratings);
    take(catalogue.reviews, out.reviews);
    if (catalogue.given_negatives.rows() > 0)
      out.given_negatives.Append(catalogue.given_negatives.row(u));
  }
  for (size_t part = 0; part < std::size(catalogue.explanations); ++part)
    for (ExplanationRecord record : catalogue.explanations[part]) {
      record.user = new_row[static_cast<size_t>(record.user)];
      if (record.user >= 0) out.explanations[part].push_back(std::move(record));
    }
  return out;
}

struct Explanations {
  std::vector<ExplanationRecord> train, validation;
};

// explanation.json is blind to the sequence split: its pairs are sorted by what they show.
Explanations GivenExplanations(const Catalogue& catalogue) {
  std::set<std::pair<int64_t, int64_t>> held_out, tested;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    const auto row = catalogue.histories.row(u);
    if (row.size() < kLeastItems) continue;
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
    const size_t training = TrainingLength(row);
    for (size_t i = 0; i < std::min(training + 1, row.size()); ++i) {
      const auto at = static_cast<size_t>(catalogue.histories.offsets[static_cast<size_t>(u)]) + i;
      std::string sentence = FirstSentence(catalogue.reviews[at]);
      if (sentence.empty()) continue;
      auto& part = i < training ? out.train : out.validation;
      part.push_back({u, row[i], std::move(sentence)});
    }
  }
  return out;
}

// Target and negatives of every user, shuffled; nothing for target -1.
store::Ragged<int64_t> Candidates(const Catalogue& catalogue, const SplitConfig& config,
                                  const char* purpose, const std::vector<int64_t>& targets,
                                  const store::Ragged<int64_t>& excluded) {
  store::Ragged<int64_t> out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    Rng rng(config.negative_seed(), purpose, 0, static_cast<uint64_t>(u));
    std::vector<int64_t> row;
    if (const int64_t target = targets[static_cast<size_t>(u)]; target >= 0) {
      row = DrawNegatives(catalogue.item_count(), excluded.row(u), config.direct_negatives(), rng);
      row.push_back(target);
      rng.Shuffle(row);
    }
    out.Append(row);
  }
  return out;
}

// Test candidates: with the source's own negatives, where it brings them.
store::Ragged<int64_t> GivenOrDrawn(const Catalogue& catalogue, const SplitConfig& config,
                                    const std::vector<int64_t>& targets) {
  constexpr const char* kPurpose = "negatives.test";
  const auto& given = catalogue.given_negatives;
  if (given.rows() == 0)
    return Candidates(catalogue, config, kPurpose, targets, catalogue.histories);
  store::Ragged<int64_t> out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    Rng rng(config.negative_seed(), kPurpose, 0, static_cast<uint64_t>(u));
    std::vector<int64_t> row(given.row(u).begin(), given.row(u).end());
    if (const int64_t target = targets[static_cast<size_t>(u)]; target >= 0) {
      row.push_back(target);
      rng.Shuffle(row);
    } else {
      row.clear();
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
      Fail(Exit::kData, "item numbers are no permutation of 1..", items, ": ", number, " of row ",
           row);
    out.item_row[static_cast<size_t>(number - 1)] = row;
  }
  return out;
}

Catalogue ApplyShortUsers(Catalogue catalogue, SplitConfig::ShortUsers what) {
  std::vector<int64_t> short_users;
  for (int64_t user = 0; user < catalogue.user_count(); ++user)
    if (catalogue.histories.row(user).size() < kLeastItems) short_users.push_back(user);
  if (short_users.empty() || what == SplitConfig::NEVER_EVALUATED) return catalogue;
  if (what == SplitConfig::DROP) return Without(short_users, catalogue);
  const int64_t first = short_users.front();
  Fail(Exit::kData, "user ", catalogue.users[static_cast<size_t>(first)], " has ",
       catalogue.histories.row(first).size(), " items; leave-one-out needs ", kLeastItems, " (",
       short_users.size(), " of ", catalogue.user_count(),
       " users have fewer): set split.short_users DROP or NEVER_EVALUATED, or catalogue.core { "
       "min_user: 3 iterated: true }");
}

Split MakeSplit(const Catalogue& source, const SplitConfig& config) {
  const Catalogue catalogue = ApplyShortUsers(source, config.short_users());
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
  const bool given =
      std::ranges::any_of(catalogue.explanations, [](const auto& part) { return !part.empty(); });
  Explanations explanations = given ? GivenExplanations(catalogue) : ReviewSentences(catalogue);
  train.explanations = std::move(explanations.train);
  HeldOut validation = TakeHeldOut(catalogue, 2), test = TakeHeldOut(catalogue, 1);
  // What users say of the test item is no input of anything.
  test.ratings.clear();
  test.reviews.clear();
  validation.candidates =
      Candidates(catalogue, config, "negatives.validation", validation.items, catalogue.histories);
  test.candidates = GivenOrDrawn(catalogue, config, test.items);
  if (config.train_candidates()) {
    const bool full = PublishedProtocol::ForNegatives(config).has_value();
    train.candidates = Candidates(catalogue, config, "negatives.train", TrainTargets(train),
                                  full ? catalogue.histories : train.histories);
  }
  out.labels =
      LabelStore(std::move(validation), std::move(test), std::move(explanations.validation));
  return out;
}

}  // namespace whyrec::data
