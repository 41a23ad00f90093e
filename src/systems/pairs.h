// Training triples of the collaborative systems: a user, one of their items, and a negative.
#pragma once

#include <vector>

#include "src/store/hdf5_file.h"

namespace whyrec::systems {

// Rows, parallel.
struct Pairs {
  std::vector<int64_t> users, positives, negatives;
};

// Every draw takes a uniform user, a uniform one of the user's positives, and a uniform negative
// that is neither a positive nor excluded. Draws are functions of (seed, number of the draw).
class PairSource {
 public:
  // Both by user row: the items to draw positives from, and what negatives avoid besides.
  PairSource(const store::Ragged<int64_t>& positives, const store::Ragged<int64_t>& excluded,
             int64_t items, uint64_t seed);
  // Draws begin..end-1. Error(kData) where a user has every item.
  Pairs Draw(int64_t begin, int64_t end) const;

 private:
  const store::Ragged<int64_t>& positives_;
  store::Ragged<int64_t> avoided_;
  int64_t items_;
  uint64_t seed_;
};

}  // namespace whyrec::systems
