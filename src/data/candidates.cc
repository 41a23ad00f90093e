#include "src/data/candidates.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <unordered_map>

#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/data/clean_text.h"
#include "src/data/samplers.h"

namespace whyrec::data {
namespace {

using config::SplitConfig;

constexpr int64_t kReleasedItems = 6531;

bool Contains(std::span<const int64_t> values, int64_t value) {
  return std::ranges::find(values, value) != values.end();
}

// Item -> number of its title, numbered by first item.
std::vector<int64_t> TitleNumbers(const std::vector<Item>& items) {
  std::unordered_map<std::string, int64_t> numbers;
  std::vector<int64_t> out;
  for (const Item& item : items) {
    const std::string title = NormalisedTitle(item.title);
    out.push_back(numbers.try_emplace(title, std::ssize(numbers)).first->second);
  }
  return out;
}

}  // namespace

CandidateDraw::CandidateDraw(const Catalogue& catalogue, const Ragged<int64_t>& train,
                             const SplitConfig& config)
    : how_(config.candidates()),
      distinct_titles_(config.has_distinct_titles() ? config.distinct_titles()
                                                    : config.train_candidates()),
      items_(catalogue.item_count()),
      negatives_(config.direct_negatives()) {
  for (int64_t row = 0; row < items_; ++row)
    if (catalogue.items[static_cast<size_t>(row)].untitled) untitled_.push_back(row);
  if (how_ == SplitConfig::POPULARITY) popular_ = train.values;
  if (how_ == SplitConfig::RELEASED) {
    place_ = catalogue.appearance;
    if (place_.empty()) {
      place_.resize(catalogue.items.size());
      std::iota(place_.begin(), place_.end(), 0);
    }
    first_.resize(place_.size());
    for (size_t row = 0; row < place_.size(); ++row)
      first_[static_cast<size_t>(place_[row])] = static_cast<int64_t>(row);
    first_.resize(static_cast<size_t>(std::min(items_, kReleasedItems)));
  }
  if (!distinct_titles_) return;
  title_ = TitleNumbers(catalogue.items);
  std::vector<std::vector<int64_t>> groups;
  for (size_t row = 0; row < title_.size(); ++row) {
    if (title_[row] == std::ssize(groups)) groups.emplace_back();
    groups[static_cast<size_t>(title_[row])].push_back(static_cast<int64_t>(row));
  }
  for (const auto& group : groups) alike_.Append(group);
}

std::span<const int64_t> CandidateDraw::Alike(int64_t item) const {
  return alike_.row(title_[static_cast<size_t>(item)]);
}

std::vector<int64_t> CandidateDraw::Avoided(int64_t target,
                                            std::span<const int64_t> excluded) const {
  std::vector<int64_t> avoided(excluded.begin(), excluded.end());
  avoided.push_back(target);
  avoided.insert(avoided.end(), untitled_.begin(), untitled_.end());
  if (distinct_titles_) {
    const auto alike = Alike(target);
    avoided.insert(avoided.end(), alike.begin(), alike.end());
  }
  return avoided;
}

std::vector<int64_t> CandidateDraw::Draw(int64_t target, std::span<const int64_t> excluded,
                                         std::span<const int64_t> history, Rng& rng) const {
  WR_CHECK(how_ != SplitConfig::SASREC_HARD, "a draw that needs scores");
  std::vector<int64_t> out;
  if (how_ == SplitConfig::RELEASED) {
    out = Released(history, negatives_, rng);
  } else {
    std::vector<int64_t> avoided = Avoided(target, excluded);
    out = how_ == SplitConfig::POPULARITY ? Popular(avoided, negatives_, rng)
                                          : Uniform(std::move(avoided), negatives_, rng);
  }
  out.push_back(target);
  rng.Shuffle(out);
  return out;
}

std::vector<int64_t> CandidateDraw::DrawHard(int64_t target, std::span<const int64_t> excluded,
                                             std::span<const double> scores, int64_t pool,
                                             Rng& rng) const {
  WR_CHECK(std::ssize(scores) == items_, scores.size(), " scores of ", items_, " items");
  std::vector<bool> avoided(scores.size(), false);
  for (int64_t item : Avoided(target, excluded)) avoided[static_cast<size_t>(item)] = true;
  // A heap, since only its first `pool` items are wanted in order.
  using Scored = std::pair<double, int64_t>;  // score and -row: the largest first
  std::vector<Scored> heap;
  for (int64_t item = 0; item < items_; ++item) {
    const double score = scores[static_cast<size_t>(item)];
    if (!avoided[static_cast<size_t>(item)] && !std::isnan(score)) heap.emplace_back(score, -item);
  }
  std::ranges::make_heap(heap);
  std::vector<int64_t> out;
  while (!heap.empty() && std::ssize(out) < pool) {
    std::ranges::pop_heap(heap);
    const int64_t item = -heap.back().second;
    heap.pop_back();
    if (avoided[static_cast<size_t>(item)]) continue;
    out.push_back(item);
    if (distinct_titles_)
      for (int64_t alike : Alike(item)) avoided[static_cast<size_t>(alike)] = true;
  }
  if (std::ssize(out) < negatives_)
    Fail(Exit::kData, "SASREC_HARD: of ", items_, " items ", out.size(), " can be negatives, ",
         negatives_, " are wanted; lower split.direct_negatives");
  rng.Shuffle(out);
  out.resize(static_cast<size_t>(negatives_));
  out.push_back(target);
  rng.Shuffle(out);
  return out;
}

std::vector<int64_t> CandidateDraw::Uniform(std::vector<int64_t> excluded, int64_t count,
                                            Rng& rng) const {
  std::vector<int64_t> out = DrawNegatives(items_, excluded, count, rng);
  if (!distinct_titles_) return out;
  // A draw that reads like an earlier one makes room for another.
  std::vector<int64_t> kept;
  for (int64_t item : out) {
    if (Contains(excluded, item)) continue;
    kept.push_back(item);
    const auto alike = Alike(item);
    excluded.insert(excluded.end(), alike.begin(), alike.end());
  }
  while (std::ssize(kept) < count) {
    kept.push_back(DrawNegatives(items_, excluded, 1, rng)[0]);
    const auto alike = Alike(kept.back());
    excluded.insert(excluded.end(), alike.begin(), alike.end());
  }
  return kept;
}

// A uniform place among the training positions is an item by training count; what may not be drawn
// (any more) is passed over. Where almost all is passed over, the places that remain are listed.
std::vector<int64_t> CandidateDraw::Popular(const std::vector<int64_t>& excluded, int64_t count,
                                            Rng& rng) const {
  constexpr int kTries = 64;
  const auto places = static_cast<uint64_t>(popular_.size());
  std::set<int64_t> avoided(excluded.begin(), excluded.end());
  std::vector<int64_t> out;
  while (std::ssize(out) < count) {
    int64_t item = -1;
    for (int i = 0; i < kTries && item < 0 && places > 0; ++i)
      if (const int64_t drawn = popular_[rng.Below(places)]; !avoided.contains(drawn)) item = drawn;
    if (item < 0) {
      std::vector<int64_t> left;
      for (int64_t place : popular_)
        if (!avoided.contains(place)) left.push_back(place);
      if (left.empty())
        Fail(Exit::kData, "candidates POPULARITY: ", out.size(),
             " items of training can be negatives, ", count,
             " are wanted; lower split.direct_negatives");
      item = left[rng.Below(left.size())];
    }
    out.push_back(item);
    avoided.insert(item);
    if (distinct_titles_)
      for (int64_t alike : Alike(item)) avoided.insert(alike);
  }
  return out;
}

std::vector<int64_t> CandidateDraw::Released(std::span<const int64_t> history, int64_t count,
                                             Rng& rng) const {
  std::vector<int64_t> had;  // places in first_
  for (int64_t item : history)
    if (const int64_t place = place_[static_cast<size_t>(item)]; place < std::ssize(first_))
      had.push_back(place);
  std::vector<int64_t> out = DrawNegatives(std::ssize(first_), had, count, rng);
  for (int64_t& place : out) place = first_[static_cast<size_t>(place)];
  return out;
}

void CheckDrawnBySplit(const SplitConfig& config) {
  if (config.candidates() == SplitConfig::SASREC_HARD)
    Fail(Exit::kUsage,
         "split.candidates: SASREC_HARD needs a SASRec that is trained on the split; name it in "
         "predict.also_candidates");
}

int64_t SharedTitles(const std::vector<Item>& items, const Ragged<int64_t>& candidates) {
  const std::vector<int64_t> titles = TitleNumbers(items);
  int64_t users = 0;
  for (int64_t u = 0; u < candidates.rows(); ++u) {
    std::set<int64_t> seen;
    for (int64_t item : candidates.row(u)) seen.insert(titles[static_cast<size_t>(item)]);
    users += std::ssize(seen) < std::ssize(candidates.row(u));
  }
  return users;
}

}  // namespace whyrec::data
