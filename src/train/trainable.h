// Trainable: what a system gives the training loop.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/nn/parameters.h"
#include "src/train/optimizer.h"

namespace whyrec::train {

// The loss of one step on this rank's slice of the global batch. The global loss is the sum of
// `own` over the ranks plus `shared`, which every rank computes alike (from gathered rows); the
// gradients of own + shared, summed over the ranks, are those of the global loss.
struct StepLoss {
  at::Tensor own;
  at::Tensor shared;  // may be undefined
  std::string task;
};

// A part of this rank's slice, for ranks whose memory does not hold the whole slice. The loss of a
// step is the sum of its parts' losses: each is divided by what the global batch counts. The last
// part also carries what cannot be split, such as `shared`, over the whole slice.
struct Part {
  int64_t index = 0, count = 1;
  bool last() const { return index + 1 == count; }
};

// Samples of the global batch, [begin, end).
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
Slice RankSlice(int64_t global_batch, int rank, int ranks);
Slice PartSlice(const Slice& whole, const Part& part);

// The samples of the global batch, by place, that are this part's of this rank: as many as the two
// slices hold, but dealt by length, so that every rank has about the same tokens (nobody waits) and
// so has every part (their peak memory is that of the mean, not of the longest run of samples;
// packed sequences have no padding to save). A loss that is a sum over samples stays the same.
std::vector<int64_t> BalancedPart(std::span<const int64_t> tokens, int rank, int ranks,
                                  const Part& part);

struct Validation {
  double value = 0;
  bool lower_is_better = true;
  std::vector<std::pair<std::string, double>> parts;  // for the log
};

class Trainable {
 public:
  virtual ~Trainable() = default;
  virtual nn::Parameters& parameters() = 0;
  virtual ParameterRule RuleFor(const std::string& /*path*/) const { return {}; }
  virtual int64_t steps_per_epoch() const = 0;
  virtual StepLoss Loss(int64_t step) = 0;  // step = 0, 1, ...; with dropout
  // Loss(step) is PartLoss(step, {}). Error(kUsage) where a system's loss cannot be split.
  virtual StepLoss PartLoss(int64_t step, const Part& part);
  virtual Validation Validate(int64_t epoch) = 0;  // the same value on every rank
};

}  // namespace whyrec::train
