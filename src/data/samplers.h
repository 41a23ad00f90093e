// Training draws of isrf section 4. All are functions of the global sample number, so any rank can
// make any sample and a resumed run needs no state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/rng.h"
#include "src/store/hdf5_file.h"

namespace whyrec::data {

// Cursor rule (4.1): passes over 0..n-1, each pass shuffled; the first one only if asked to.
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

// Segment of a training history (4.3), both ends included: with n = training positions + 2,
// a in 0..n-4, b in a+1..n-3, then the last `max_sequence` entries. Histories of fewer than two
// training items have no segment: {-1, -1}.
std::pair<int64_t, int64_t> SequentialSegment(int64_t training_items, int64_t max_sequence,
                                              Rng& rng);

// `count` distinct uniform rows of 0..items-1 outside `excluded`. Error(kData) when too few are
// left.
std::vector<int64_t> DrawNegatives(int64_t items, std::span<const int64_t> excluded, int64_t count,
                                   Rng& rng);

}  // namespace whyrec::data
