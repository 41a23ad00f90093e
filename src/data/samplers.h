// Training draws of the T5 systems, as POD's public code makes them. All are functions of the
// global sample number, so any rank can make any sample and a resumed run needs no state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/rng.h"

namespace whyrec::data {

// Passes over 0..n-1, each in a new shuffled order; the first pass is shuffled only if asked to
// (the public code leaves it in file order).
class CursorSampler {
 public:
  CursorSampler(int64_t n, uint64_t seed, std::string_view purpose, bool shuffle_first_pass);
  int64_t At(int64_t draw);  // record of the draw-th sample, draw = 0, 1, ...

 private:
  int64_t n_;
  uint64_t seed_;
  std::string purpose_;
  bool shuffle_first_pass_;
  int64_t pass_ = -1;
  std::vector<int64_t> order_;
};

// A random segment of a training history, both ends included: with n = training positions + 2, a is
// uniform in 0..n-4 and b in a+1..n-3; of these the last `max_sequence` entries. The last entry is
// the target. Histories of fewer than two training items have no segment: {-1, -1}.
std::pair<int64_t, int64_t> SequentialSegment(int64_t training_items, int64_t max_sequence,
                                              Rng& rng);

// `count` distinct uniform rows of 0..items-1 outside `excluded`. Error(kData) when too few are
// left.
std::vector<int64_t> DrawNegatives(int64_t items, std::span<const int64_t> excluded, int64_t count,
                                   Rng& rng);

}  // namespace whyrec::data
