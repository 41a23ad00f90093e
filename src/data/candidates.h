// Candidate sets of the direct task: the target and negatives, to be ranked.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/data/catalogue.h"

namespace whyrec::data {

// Draws negatives by split.candidates:
//   UNIFORM     uniform over the items outside `excluded`;
//   POPULARITY  one after the other with probability in proportion to the training count;
//   RELEASED    uniform over the first 6,531 items of the source that are not in `history`, the
//               target among them; the constant is that of PULSE's public code;
//   SASREC_HARD a draw of its own, DrawHard.
// All but RELEASED never draw the target nor an item without a title of its own (Item::untitled),
// and with split.distinct_titles no two candidates have the same title (NormalisedTitle).
class CandidateDraw {
 public:
  // `train`: training positions of all users.
  CandidateDraw(const Catalogue& catalogue, const Ragged<int64_t>& train,
                const config::SplitConfig& config);

  // Target and direct_negatives others, shuffled. `excluded`: what the user had at any time, or in
  // training; `history`: what comes before the target. Error(kData) when too few items are left.
  std::vector<int64_t> Draw(int64_t target, std::span<const int64_t> excluded,
                            std::span<const int64_t> history, Rng& rng) const;
  // The same, with negatives drawn uniformly from the first `pool` eligible items by score (one
  // score per catalogue item; ties by row). Of items with the same title only the first is in the
  // pool.
  std::vector<int64_t> DrawHard(int64_t target, std::span<const int64_t> excluded,
                                std::span<const double> scores, int64_t pool, Rng& rng) const;

 private:
  // What guards keep out, besides `excluded`, which comes first.
  std::vector<int64_t> Avoided(int64_t target, std::span<const int64_t> excluded) const;
  std::vector<int64_t> Uniform(std::vector<int64_t> excluded, int64_t count, Rng& rng) const;
  std::vector<int64_t> Popular(const std::vector<int64_t>& excluded, int64_t count, Rng& rng) const;
  std::vector<int64_t> Released(std::span<const int64_t> history, int64_t count, Rng& rng) const;
  std::span<const int64_t> Alike(int64_t item) const;  // items of one title, this one included

  config::SplitConfig::Candidates how_;
  bool distinct_titles_;
  int64_t items_, negatives_;
  std::vector<int64_t> untitled_;
  std::vector<int64_t> popular_;  // items of the training positions
  std::vector<int64_t> place_;    // item -> place of its first appearance, and the first rows by it
  std::vector<int64_t> first_;
  std::vector<int64_t> title_;  // item -> row of alike_
  Ragged<int64_t> alike_;
};

// Error(kUsage) for SASREC_HARD, which needs a system that is trained on the split.
void CheckDrawnBySplit(const config::SplitConfig& config);

// The number of users two of whose candidates have the same title.
int64_t SharedTitles(const std::vector<Item>& items, const Ragged<int64_t>& candidates);

}  // namespace whyrec::data
