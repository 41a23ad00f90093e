// Of a user's items s_1..s_n, the test predicts s_n, validation predicts s_{n-1}, and training sees
// the rest; split.held_out decides which users have a validation item. Training and held-out data
// are different types: no held-out item can be reached from a TrainView.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/base/ragged.h"
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
  Ragged<int64_t> histories;         // training positions, item rows
  std::vector<int64_t> times;        // unix seconds, parallel to histories.values, or empty
  std::vector<float> ratings;        // likewise; 0: none given
  std::vector<std::string> reviews;  // likewise
  // split.train_candidates: per user the last training item and its negatives, shuffled; an empty
  // row for users with fewer than 2 training items. No rows when the configuration does not ask.
  Ragged<int64_t> candidates;
  // Of training positions only: from explanation.json (its train list), else the first sentence of
  // 4 to 25 words of the review.
  std::vector<ExplanationRecord> explanations;
  Numbering numbers;

  int64_t user_count() const { return histories.rows(); }
  int64_t item_count() const { return static_cast<int64_t>(items.size()); }
};

enum class Phase { kValidation, kTest };

// Permission to read held-out data the way a published protocol does. Only a configuration that
// asks for it (profile history LAST20_FULL, negatives EXCLUDE FULL, anchor WITH_TARGET) yields one.
class PublishedProtocol {
 public:
  static std::optional<PublishedProtocol> ForProfiles(const config::RationalesConfig& config);
  static std::optional<PublishedProtocol> ForNegatives(const config::SplitConfig& config);
  static std::optional<PublishedProtocol> ForAnchor(const config::BehaviourConfig& config);

 private:
  PublishedProtocol() = default;
};

// A held-out item of every user, and the candidates that hold it.
struct HeldOut {
  std::vector<int64_t> items;        // rows; -1: the user has none
  std::vector<int64_t> times;        // unix seconds, or empty
  std::vector<float> ratings;        // or empty; none of test items
  std::vector<std::string> reviews;  // likewise
  Ragged<int64_t> candidates;        // target and negatives, shuffled
};

// Held-out targets and their candidate sets. A user without a target has target -1 and no
// candidates: in both phases users with fewer than 3 items (split.short_users NEVER_EVALUATED), in
// validation also users without a validation item (split.held_out TEXT). Items that are not held
// out belong to training.
class LabelStore {
 public:
  LabelStore() = default;
  LabelStore(HeldOut validation, HeldOut test,
             std::vector<ExplanationRecord> validation_explanations);

  int64_t user_count() const { return static_cast<int64_t>(test_.items.size()); }
  bool Evaluated(Phase phase, int64_t user) const { return Target(phase, user) >= 0; }
  std::vector<int64_t> EvaluatedUsers(Phase phase) const;  // ascending
  int64_t Target(Phase phase, int64_t user) const;         // item row
  int64_t TargetTime(Phase phase, int64_t user) const;     // 0: unknown
  std::span<const int64_t> Candidates(Phase phase,
                                      int64_t user) const;  // target and negatives, shuffled
  // The history that a prediction may use: training items and, in the test, the validation item if
  // there is one.
  std::vector<int64_t> InputHistory(Phase phase, const TrainView& train, int64_t user) const;
  // The same with times, ratings and reviews, oldest first.
  std::vector<Interaction> InputEvents(Phase phase, const TrainView& train, int64_t user) const;
  // As TrainView::explanations: the val list without test pairs, or the reviews of validation
  // items.
  const std::vector<ExplanationRecord>& ValidationExplanations() const { return explanations_; }
  // Whole histories, as the published code uses them.
  Ragged<int64_t> FullHistories(const PublishedProtocol&, const TrainView& train) const;

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
// Positions of a history: `training` ones, then the validation item, then the test item.
struct Parts {
  size_t training = 0;
  bool validates = false, tests = false;
};
// Of `items` items of the user with this id. LEAVE_TWO_OUT: every user validates. TEXT: those for
// whom SHA-256 of the id, its first eight hexadecimal digits as a number, modulo 10 is 0. Users
// with fewer than kLeastItems items have training positions only.
Parts PartsOf(const std::string& id, size_t items, config::SplitConfig::HeldOut how);
inline Parts PartsOf(const Catalogue& catalogue, int64_t user, config::SplitConfig::HeldOut how) {
  return PartsOf(catalogue.users.at(static_cast<size_t>(user)),
                 catalogue.histories.row(user).size(), how);
}
// Short users refused (Error(kData) with the first, their number and the settings that help),
// dropped (items stay) or kept.
Catalogue ApplyShortUsers(Catalogue catalogue, config::SplitConfig::ShortUsers what);
// Error(kData) when TEXT leaves no validation users; Error(kUsage) for candidates SASREC_HARD.
Split MakeSplit(const Catalogue& catalogue, const config::SplitConfig& config);

// Two files: train.h5 (TrainView) and labels.h5 (LabelStore).
void Save(const Split& split, const std::filesystem::path& folder);
TrainView LoadTrainView(const std::filesystem::path& folder);
LabelStore LoadLabels(const std::filesystem::path& folder);

}  // namespace whyrec::data
