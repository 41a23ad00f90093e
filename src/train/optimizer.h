// AdamW over a parameter map, one fused kernel per rate and decay.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cluster/collective/communicator.h"
#include "src/nn/parameters.h"
#include "src/train/tensor_files.h"

namespace whyrec::train {

// What a parameter may have of its own.
struct ParameterRule {
  std::optional<double> learning_rate = {};  // instead of the run's; the schedule applies to both
  bool decay = true;
  bool operator==(const ParameterRule&) const = default;
};

struct AdamWOptions {
  double learning_rate = 1e-3, weight_decay = 0.01, beta2 = 0.999;
  std::function<ParameterRule(const std::string& path)> rule_for = {};  // none: one rule for all
};

// Loshchilov & Hutter 2019, decoupled decay. A parameter without gradient is skipped: neither
// decayed nor its moments moved, as in torch; each parameter counts its own steps.
class AdamW {
 public:
  AdamW(nn::Parameters& parameters, const AdamWOptions& options);
  void Step(double rate_factor = 1);  // consumes the gradients
  void ZeroGrad();                    // to none

  // Moments and step counts by parameter path, for checkpoints.
  NamedTensors State() const;

 private:
  struct Moments {
    at::Tensor mean, square, steps;
  };
  struct ParameterGroup {
    double learning_rate, weight_decay;
    std::vector<size_t> members;  // places in parameters
  };
  void StepGroup(const ParameterGroup& group, double rate_factor);

  nn::Parameters& parameters_;
  double beta2_;
  std::vector<Moments> moments_;  // parallel to parameters
  std::vector<ParameterGroup> groups_;
};

// Scales all gradients by one factor so that their norm, taken over all parameters together, is at
// most `limit` (Pascanu et al. 2013), with 1e-6 added to the norm as torch does. Called after the
// sum over ranks; of a distributed table, the ranks' norms count together. Every rank uses the same
// bits. Returns the norm before. 0: no gradient.
double ClipGradients(const nn::Parameters& parameters, double limit, cluster::Communicator& comm);

}  // namespace whyrec::train
