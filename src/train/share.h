// Divides a step's samples among ranks, and on a rank among passes (micro-batches) that fit its
// memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/nn/dropout.h"

namespace whyrec::train {

// Of things that are numbered, [begin, end).
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// One of a rank's passes over its slice. The loss of a step is the sum over its passes, each
// divided by the number of targets in the global batch.
struct Part {
  int64_t index = 0, count = 1;
  bool last() const { return index + 1 == count; }
};

Slice RankSlice(int64_t global_batch, int rank, int ranks);
Slice PartSlice(const Slice& whole, const Part& part);

// The samples of the global batch, by place, that belong to this part on this rank. Their number is
// that of the plain slices, but they are distributed by length, so that all ranks have about the
// same number of tokens (no rank waits), and so have all parts (which evens out peak memory; packed
// sequences have no padding to save). A loss that is a sum over samples does not change.
std::vector<int64_t> BalancedPart(std::span<const int64_t> tokens, int rank, int ranks,
                                  const Part& part);

// What one forward and backward pass works on: samples [begin, end) of the global batch of a step.
// The training loop makes it; a system reads it and never asks which rank it runs on.
class Share {
 public:
  Share(int64_t step, int64_t global_batch, int rank, int ranks, const Part& part);
  // All samples of a step, on one rank in one pass.
  Share(int64_t step, int64_t global_batch) : Share(step, global_batch, 0, 1, {}) {}

  int64_t step, begin, end;
  int64_t global_batch;  // samples of the step
  Slice rank;            // those of this rank, over all its passes

  int64_t size() const { return end - begin; }
  // The rank's last pass also carries what cannot be split, such as StepLoss::shared.
  bool last() const { return part_.last(); }
  // The number of the step's first sample, where samples are numbered through all steps.
  int64_t first() const { return step * global_batch; }

  // Random streams of the samples [begin, end), for dropout and noise.
  nn::Draws draws(uint64_t seed) const { return nn::DrawsOf(seed, step, begin, size()); }
  // BalancedPart, in place of [begin, end): tokens [global_batch] -> places.
  std::vector<int64_t> Deal(std::span<const int64_t> tokens) const;

 private:
  int rank_, ranks_;
  Part part_;
};

}  // namespace whyrec::train
