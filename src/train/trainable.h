// Trainable: what a system gives the training loop.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/nn/parameters.h"

namespace whyrec::train {

// The loss of one step on this rank's slice of the global batch. The global loss is the sum of
// `own` over the ranks plus `shared`, which every rank computes alike (from gathered rows); the
// gradients of own + shared, summed over the ranks, are those of the global loss.
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
  virtual int64_t steps_per_epoch() const = 0;
  virtual StepLoss Loss(int64_t step) = 0;         // step = 0, 1, ...; dropout on
  virtual Validation Validate(int64_t epoch) = 0;  // the same value on every rank
};

}  // namespace whyrec::train
