// Leave-one-out: of a user's items s_1..s_n training sees s_1..s_{n-2}, validation predicts
// s_{n-1}, the test predicts s_n. The halves are different types: a TrainView cannot lead to a
// held-out item.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/data/catalogue.h"

namespace whyrec::data {

// Numbers that prompts show: 1..n, by user row and item row. Internal rows never appear in a
// prompt.
struct Numbering {
  std::vector<int64_t> user;  // row -> number
  std::vector<int64_t> item;
  std::vector<int64_t> item_row;  // number - 1 -> row
};
// Fills in item_row. Error(kData) unless `item` is a permutation of 1..n.
Numbering MakeNumbering(std::vector<int64_t> user, std::vector<int64_t> item);

// One entry of a history, with what the user said of it; 0 and "" where the source says nothing.
struct Interaction {
  int64_t item;      // row
  int64_t time = 0;  // unix seconds
  float rating = 0;
  std::string review;
};

// All that training, prompts, texts, graphs and negatives may know.
struct TrainView {
  std::string dataset, domain;
  std::vector<Item> items;
  store::Ragged<int64_t> histories;  // positions 1..n-2, item rows
  std::vector<int64_t> times;        // unix seconds, parallel to histories.values, or empty
  std::vector<float> ratings;        // likewise; 0: none given
  std::vector<std::string> reviews;  // likewise
  // split.train_candidates: per user the last training item and its negatives, shuffled; an empty
  // row for users with fewer than 2 training items. No rows when the configuration does not ask.
  store::Ragged<int64_t> candidates;
  // Of training positions only: from explanation.json (its train list), else the first sentence of
  // 4 to 25 words of the review.
  std::vector<ExplanationRecord> explanations;
  Numbering numbers;

  int64_t user_count() const { return histories.rows(); }
  int64_t item_count() const { return static_cast<int64_t>(items.size()); }
};

enum class Phase { kValidation, kTest };

// Shown by code that means to follow a published protocol into held-out data; only a configuration
// that asks for it (profile history LAST20_FULL, negatives EXCLUDE FULL, anchor WITH_TARGET) yields
// one.
class PublishedProtocol {
 public:
  static std::optional<PublishedProtocol> ForProfiles(const config::RationalesConfig& config);
  static std::optional<PublishedProtocol> ForNegatives(const config::SplitConfig& config);
  static std::optional<PublishedProtocol> ForAnchor(const config::BehaviourConfig& config);

 private:
  PublishedProtocol() = default;
};

// One held-out item of every user, and the candidates that hold it.
struct HeldOut {
  std::vector<int64_t> items;         // rows; -1: the user is never evaluated
  std::vector<int64_t> times;         // unix seconds, or empty
  std::vector<float> ratings;         // or empty; none of test items
  std::vector<std::string> reviews;   // likewise
  store::Ragged<int64_t> candidates;  // target and negatives, shuffled
};

// Held-out targets and the candidates that hold them. A user who is never evaluated (fewer than 3
// items, split.short_users NEVER_EVALUATED) has target -1 and no candidates; all events of such a
// user are training.
class LabelStore {
 public:
  LabelStore() = default;
  LabelStore(HeldOut validation, HeldOut test,
             std::vector<ExplanationRecord> validation_explanations);

  int64_t user_count() const { return static_cast<int64_t>(test_.items.size()); }
  bool Evaluated(int64_t user) const { return test_.items.at(static_cast<size_t>(user)) >= 0; }
  std::vector<int64_t> EvaluatedUsers() const;          // ascending
  int64_t Target(Phase phase, int64_t user) const;      // item row
  int64_t TargetTime(Phase phase, int64_t user) const;  // 0: unknown
  std::span<const int64_t> Candidates(Phase phase,
                                      int64_t user) const;  // target and negatives, shuffled
  // What a prediction may start from: training items, and for the test the validation item.
  std::vector<int64_t> InputHistory(Phase phase, const TrainView& train, int64_t user) const;
  // The same with times, ratings and reviews, oldest first.
  std::vector<Interaction> InputEvents(Phase phase, const TrainView& train, int64_t user) const;
  // As TrainView::explanations: the val list without test pairs, or the reviews of validation
  // items.
  const std::vector<ExplanationRecord>& ValidationExplanations() const { return explanations_; }
  // Whole histories, as the published code uses them.
  store::Ragged<int64_t> FullHistories(const PublishedProtocol&, const TrainView& train) const;

 private:
  friend void Save(const struct Split& split, const std::filesystem::path& folder);

  const HeldOut& Of(Phase phase) const { return phase == Phase::kTest ? test_ : validation_; }

  HeldOut validation_, test_;
  std::vector<ExplanationRecord> explanations_;
};

struct Split {
  TrainView train;
  LabelStore labels;
};

// A user with fewer than kLeastItems items cannot be split.
inline constexpr size_t kLeastItems = 3;
// Positions of a history that training sees: all of a short one, else all but the last two.
template <typename Row>
size_t TrainingLength(const Row& row) {
  return row.size() < kLeastItems ? row.size() : row.size() - 2;
}
// Short users refused (Error(kData) with the first, their number and the settings that help),
// dropped (items stay) or kept.
Catalogue ApplyShortUsers(Catalogue catalogue, config::SplitConfig::ShortUsers what);
Split MakeSplit(const Catalogue& catalogue, const config::SplitConfig& config);

// Two files: train.h5 (TrainView) and labels.h5 (LabelStore).
void Save(const Split& split, const std::filesystem::path& folder);
TrainView LoadTrainView(const std::filesystem::path& folder);
LabelStore LoadLabels(const std::filesystem::path& folder);

}  // namespace whyrec::data
