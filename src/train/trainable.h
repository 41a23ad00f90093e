// Trainable: what a system gives the training loop.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/nn/parameters.h"
#include "src/train/optimizer.h"
#include "src/train/share.h"

namespace whyrec::train {

// The loss of one pass. The global loss of a step is the sum of `own` over all passes of all ranks
// plus `shared`, which every rank computes alike (from gathered rows, once a step, in its last
// pass); the gradients of own + shared, summed over passes and ranks, are those of the global loss.
struct StepLoss {
  at::Tensor own;
  at::Tensor shared;  // may be undefined
  std::string task;
};

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
  // Around the passes of a step, called on every rank: the place for what ranks do together. The
  // share is the rank's whole one. EndStep completes the gradients of distributed tables.
  virtual void BeginStep(const Share& /*whole*/) {}
  virtual void EndStep() {}
  // Of samples [share.begin, share.end) of step 0, 1, ...; with dropout. Divided by what the global
  // batch counts, so that the losses of all shares add up to the step's.
  virtual StepLoss Loss(const Share& share) = 0;
  // False where a rank's samples need each other: train.micro_batch is refused.
  virtual bool splits() const { return true; }
  virtual Validation Validate(int64_t epoch) = 0;  // the same value on every rank
};

}  // namespace whyrec::train
