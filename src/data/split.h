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

// All that training, prompts, texts, graphs and negatives may know.
struct TrainView {
  std::string dataset, domain;
  std::vector<Item> items;
  store::Ragged<int64_t> histories;  // positions 1..n-2, item rows
  std::vector<float> ratings;        // parallel to histories.values, or empty
  std::vector<std::string> reviews;  // likewise
  // Of training positions only: from explanation.json (its train list), else the first sentence of
  // 4 to 25 words of the review.
  std::vector<ExplanationRecord> explanations;
  Numbering numbers;

  int64_t user_count() const { return histories.rows(); }
  int64_t item_count() const { return static_cast<int64_t>(items.size()); }
};

enum class Phase { kValidation, kTest };

// Shown by code that means to follow a published protocol into held-out data; only a configuration
// that asks for it (profile history LAST20_FULL, negatives EXCLUDE FULL) yields one.
class PublishedProtocol {
 public:
  static std::optional<PublishedProtocol> ForProfiles(const config::RationalesConfig& config);
  static std::optional<PublishedProtocol> ForNegatives(const config::SplitConfig& config);

 private:
  PublishedProtocol() = default;
};

// Held-out targets and the candidates that hold them.
class LabelStore {
 public:
  LabelStore() = default;
  LabelStore(std::vector<int64_t> validation, std::vector<int64_t> test,
             store::Ragged<int64_t> validation_candidates, store::Ragged<int64_t> test_candidates,
             std::vector<ExplanationRecord> validation_explanations);

  int64_t user_count() const { return static_cast<int64_t>(test_.size()); }
  int64_t Target(Phase phase, int64_t user) const;  // item row
  std::span<const int64_t> Candidates(Phase phase,
                                      int64_t user) const;  // target and negatives, shuffled
  // What a prediction may start from: training items, and for the test the validation item.
  std::vector<int64_t> InputHistory(Phase phase, const TrainView& train, int64_t user) const;
  // As TrainView::explanations: the val list without test pairs, or the reviews of validation
  // items.
  const std::vector<ExplanationRecord>& ValidationExplanations() const { return explanations_; }
  // Whole histories, as the published code uses them.
  store::Ragged<int64_t> FullHistories(const PublishedProtocol&, const TrainView& train) const;

 private:
  friend void Save(const struct Split& split, const std::filesystem::path& folder);

  std::vector<int64_t> validation_, test_;
  store::Ragged<int64_t> validation_candidates_, test_candidates_;
  std::vector<ExplanationRecord> explanations_;
};

struct Split {
  TrainView train;
  LabelStore labels;
};

// Users with fewer than 3 items cannot be split: Error(kData) naming the first and the filter to
// set.
void CheckLengths(const Catalogue& catalogue);
Split MakeSplit(const Catalogue& catalogue, const config::SplitConfig& config);

// Two files: train.h5 (TrainView) and labels.h5 (LabelStore).
void Save(const Split& split, const std::filesystem::path& folder);
TrainView LoadTrainView(const std::filesystem::path& folder);
LabelStore LoadLabels(const std::filesystem::path& folder);

}  // namespace whyrec::data
