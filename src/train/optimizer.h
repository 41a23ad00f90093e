// AdamW over a parameter map, one fused kernel per step.
#pragma once

#include <map>
#include <string>

#include "src/nn/parameters.h"

namespace whyrec::train {

// Loshchilov & Hutter 2019, decoupled decay. A parameter without gradient is skipped: neither
// decayed nor its moments moved (isrf 6.8); each parameter counts its own steps.
class AdamW {
 public:
  AdamW(nn::Parameters& parameters, double learning_rate, double weight_decay);
  void Step();      // consumes the gradients
  void ZeroGrad();  // to none

  // Moments and step counts by parameter path, for checkpoints.
  std::vector<std::pair<std::string, at::Tensor>> State() const;

 private:
  struct Moments {
    at::Tensor mean, square, steps;
  };
  nn::Parameters& parameters_;
  double learning_rate_, weight_decay_;
  std::vector<Moments> moments_;  // parallel to parameters
};

}  // namespace whyrec::train
