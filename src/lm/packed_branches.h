// A prefix that several branches continue, read in one pass: a branch attends to the prefix and to
// itself, never to another branch. The results equal those of separate sequences prefix + branch;
// PULSE's ten candidates thus cost one sequence instead of ten.
#pragma once

#include <cstdint>
#include <vector>

#include "src/lm/phi.h"

namespace whyrec::lm {

// Packed tokens: the prefix's, then each branch's. No branches: a plain causal sequence.
struct PackedBranches {
  int64_t prefix = 0;
  std::vector<int64_t> branches = {};  // their tokens; 0 is allowed

  int64_t tokens() const;
  int64_t longest_path() const;
};

// bool [T,T], T = tree.tokens(): row may read column.
at::Tensor TreeMask(const PackedBranches& tree);
// i64 [T]: every branch continues at position `prefix`.
at::Tensor TreePositions(const PackedBranches& tree);

// Attention for trees packed end to end, each in itself: work and memory are linear in the trees.
Phi::Attend TreeAttention(const std::vector<PackedBranches>& trees);

}  // namespace whyrec::lm
