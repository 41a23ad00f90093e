#include "src/data/audit.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/data/count_models.h"
#include "src/data/samplers.h"
#include "src/eval/metrics.h"

namespace whyrec::data {
namespace {

using Row = std::span<const int64_t>;

// The five figures of one check: means over users.
class Tally {
 public:
  explicit Tally(std::string check) : check_(std::move(check)) {}

  // `hit(k)` and `ndcg(k)` of one user.
  void Add(const std::function<double(int64_t)>& hit, const std::function<double(int64_t)>& ndcg) {
    const double values[] = {hit(1), hit(5), ndcg(5), hit(10), ndcg(10)};
    for (size_t i = 0; i < std::size(values); ++i) sums_[i] += values[i];
    ++users_;
  }
  void AddList(const std::vector<int64_t>& list, int64_t target) {
    Add([&](int64_t k) { return eval::HitRate(list, target, k, true); },
        [&](int64_t k) { return eval::Ndcg(list, target, k, true); });
  }
  void AddRank(const eval::Rank& rank) {
    Add([&](int64_t k) { return eval::HitRate(rank, k, eval::Ties::kExpected); },
        [&](int64_t k) { return eval::Ndcg(rank, k, eval::Ties::kExpected); });
  }

  std::vector<AuditValue> Values() const {
    constexpr const char* kNames[] = {"HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"};
    std::vector<AuditValue> out;
    for (size_t i = 0; i < std::size(kNames); ++i)
      out.push_back(
          {check_, kNames[i], users_ ? sums_[i] / static_cast<double>(users_) : 0, users_});
    return out;
  }

 private:
  std::string check_;
  double sums_[5] = {};
  int64_t users_ = 0;
};

// A list of ten numbers of items: the history, repeats and numbers outside 1..items are passed
// over.
class TopTen {
 public:
  TopTen(Row history, int64_t items) : history_(history), items_(items) {}

  void Offer(int64_t item) {
    const auto in = [item](const auto& range) {
      return std::ranges::find(range, item) != range.end();
    };
    if (!Full() && item >= 1 && item <= items_ && !in(list_) && !in(history_))
      list_.push_back(item);
  }
  bool Full() const { return list_.size() == 10; }
  const std::vector<int64_t>& list() const { return list_; }

 private:
  Row history_;
  int64_t items_;
  std::vector<int64_t> list_;
};

// Applies one rule for user u, given the user's test history.
using Rule = std::function<void(int64_t u, Row history, TopTen& list)>;

std::vector<AuditValue> Score(const NumberedSequences& data, const std::string& check,
                              const Rule& rule) {
  Tally tally(check);
  for (int64_t u = 0; u < data.sequences.rows(); ++u) {
    const Row row = data.sequences.row(u);
    if (row.size() < kLeastItems) continue;
    const Row history = row.first(row.size() - 1);
    TopTen list(history, data.items);
    rule(u, history, list);
    tally.AddList(list.list(), row.back());
  }
  return tally.Values();
}

// R2's order: training items of the users up to six places away, by sum of 60/distance (whole
// numbers, so the order of summation does not matter), then by number.
class Neighbours {
 public:
  explicit Neighbours(const NumberedSequences& data)
      : data_(data), scores_(static_cast<size_t>(data.items) + 1, 0) {}

  std::vector<int64_t> Ranked(int64_t u) {
    std::vector<int64_t> found;
    for (int64_t distance = 1; distance <= 6; ++distance) {
      for (int64_t other : {u - distance, u + distance}) {
        if (other < 0 || other >= data_.sequences.rows()) continue;
        const Row row = data_.sequences.row(other);
        for (int64_t item : row.first(data_.training.at(static_cast<size_t>(other)))) {
          int64_t& score = scores_[static_cast<size_t>(item)];
          if (score == 0) found.push_back(item);
          score += 60 / distance;
        }
      }
    }
    std::ranges::sort(found, {}, [this](int64_t item) {
      return std::pair(-scores_[static_cast<size_t>(item)], item);
    });
    for (int64_t item : found) scores_[static_cast<size_t>(item)] = 0;
    return found;
  }

 private:
  const NumberedSequences& data_;
  std::vector<int64_t> scores_;
};

double Digits(int64_t number) { return static_cast<double>(std::to_string(number).size()); }

// Popularity and Markov, counted on positions 1..n-2 however the run splits, over all items,
// history kept in the list.
void CountModels(const Ragged<int64_t>& histories, int64_t items, const std::string& suffix,
                 std::vector<AuditValue>& out) {
  Ragged<int64_t> train;
  for (int64_t u = 0; u < histories.rows(); ++u) {
    const Row row = histories.row(u);
    train.Append(row.first(row.size() < kLeastItems ? row.size() : row.size() - 2));
  }
  const std::vector<double> popularity = Popularity(train, items);
  const Markov markov(train, items);
  Tally by_popularity("popularity" + suffix), by_markov("markov" + suffix);
  for (int64_t u = 0; u < histories.rows(); ++u) {
    const Row row = histories.row(u);
    if (row.size() < kLeastItems) continue;
    by_popularity.AddRank(eval::RankOf(popularity, row.back()));
    by_markov.AddRank(eval::RankOf(markov.Scores(row[row.size() - 2]), row.back()));
  }
  for (const Tally* tally : {&by_popularity, &by_markov})
    std::ranges::copy(tally->Values(), std::back_inserter(out));
}

}  // namespace

NumberedSequences Number(const Catalogue& catalogue, const Numbering& numbers,
                         config::SplitConfig::HeldOut how) {
  std::vector<int64_t> row_of(numbers.user.size());
  for (size_t row = 0; row < row_of.size(); ++row)
    row_of[static_cast<size_t>(numbers.user[row] - 1)] = static_cast<int64_t>(row);
  NumberedSequences out;
  out.items = catalogue.item_count();
  for (int64_t row : row_of) {
    std::vector<int64_t> sequence;
    for (int64_t item : catalogue.histories.row(row))
      sequence.push_back(numbers.item[static_cast<size_t>(item)]);
    out.sequences.Append(sequence);
    out.training.push_back(PartsOf(catalogue, row, how).training);
  }
  return out;
}

std::vector<AuditValue> RuleR1(const NumberedSequences& data) {
  return Score(data, "R1", [&](int64_t, Row history, TopTen& list) {
    const int64_t m = *std::ranges::max_element(history), l = history.back();
    for (int64_t item : {m + 1, l + 1, m + 2, l - 1, l + 2, m - 1, m + 3, l - 2, m + 4, l + 3,
                         m - 2, l - 3, m + 5, l + 4})
      list.Offer(item);
    for (int64_t item = m + 6; item <= data.items && !list.Full(); ++item) list.Offer(item);
  });
}

std::vector<AuditValue> RuleR2(const NumberedSequences& data) {
  Neighbours neighbours(data);
  return Score(data, "R2", [&](int64_t u, Row, TopTen& list) {
    for (int64_t item : neighbours.Ranked(u)) list.Offer(item);
  });
}

std::vector<AuditValue> RuleR3(const NumberedSequences& data) {
  Neighbours neighbours(data);
  return Score(data, "R3", [&](int64_t u, Row history, TopTen& list) {
    const int64_t m = *std::ranges::max_element(history), l = history.back();
    // The first four are counted among what R2 would list, before m + 1 is passed over as a repeat.
    std::vector<int64_t> ranked = neighbours.Ranked(u);
    std::erase_if(ranked,
                  [&](int64_t item) { return std::ranges::find(history, item) != history.end(); });
    const auto four = ranked.begin() + std::min<std::ptrdiff_t>(4, std::ssize(ranked));
    list.Offer(m + 1);
    for (auto item = ranked.begin(); item != four; ++item) list.Offer(*item);
    list.Offer(l + 1);
    list.Offer(m + 2);
    for (auto item = four; item != ranked.end(); ++item) list.Offer(*item);
  });
}

std::vector<AuditValue> RuleDigitCount(const NumberedSequences& data, uint64_t seed) {
  constexpr int64_t kNegatives = 99;
  Tally tally("digit_count_direct");
  for (int64_t u = 0; u < data.sequences.rows(); ++u) {
    const Row row = data.sequences.row(u);
    if (row.size() < kLeastItems) continue;
    Rng rng(seed, "audit.digits", 0, static_cast<uint64_t>(u));
    std::vector<int64_t> excluded;
    for (int64_t number : row) excluded.push_back(number - 1);
    const int64_t count = std::min<int64_t>(kNegatives, data.items - std::ssize(row));
    std::vector<double> scores{-Digits(row.back())};
    for (int64_t place : DrawNegatives(data.items, excluded, count, rng))
      scores.push_back(-Digits(place + 1));
    tally.AddRank(eval::RankOf(scores, 0));
  }
  return tally.Values();
}

std::vector<AuditValue> TieOrder(const config::CatalogueConfig& config) {
  constexpr uint64_t kShuffles = 5;
  std::vector<AuditValue> out;
  if (!config.has_reviews()) return out;
  config::CatalogueConfig in_file_order = config;
  in_file_order.clear_items();
  in_file_order.mutable_order()->set_ties(config::OrderConfig::INPUT);
  Facts unused;
  const Catalogue catalogue = ReadSource(in_file_order, unused);
  CountModels(catalogue.histories, catalogue.item_count(), "", out);
  for (uint64_t seed = 1; seed <= kShuffles; ++seed) {
    Ragged<int64_t> shuffled = catalogue.histories;
    for (int64_t u = 0; u < shuffled.rows(); ++u) {
      const auto begin = static_cast<size_t>(shuffled.offsets[static_cast<size_t>(u)]);
      const Row row = catalogue.histories.row(u);
      const auto order = ShuffledTies({catalogue.times.data() + begin, row.size()}, seed, u);
      for (size_t i = 0; i < row.size(); ++i)
        shuffled.values[begin + i] = row[static_cast<size_t>(order[i])];
    }
    CountModels(shuffled, catalogue.item_count(), Cat(", ties shuffled (seed ", seed, ")"), out);
  }
  return out;
}

std::string AuditJson(const std::vector<AuditValue>& values) {
  nlohmann::json json = nlohmann::json::array();
  for (const AuditValue& v : values)
    json.push_back(
        {{"check", v.check}, {"metric", v.metric}, {"value", v.value}, {"users", v.users}});
  return json.dump(1) + "\n";
}

}  // namespace whyrec::data
