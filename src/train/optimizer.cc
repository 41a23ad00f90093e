#include "src/train/optimizer.h"

#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

namespace whyrec::train {

AdamW::AdamW(nn::Parameters& parameters, const AdamWOptions& options)
    : parameters_(parameters), beta2_(options.beta2) {
  c10::NoGradGuard no_grad;
  for (const auto& [path, p] : parameters.all()) {
    const ParameterRule rule = options.rule_for ? options.rule_for(path) : ParameterRule{};
    const double rate = rule.learning_rate.value_or(options.learning_rate);
    const double decay = rule.decay ? options.weight_decay : 0;
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const ParameterGroup& g) {
      return g.learning_rate == rate && g.weight_decay == decay;
    });
    if (group == groups_.end()) group = groups_.insert(group, {rate, decay, {}});
    group->members.push_back(moments_.size());
    moments_.push_back(
        {at::zeros_like(p), at::zeros_like(p), at::zeros({}, p.options().dtype(at::kFloat))});
  }
}

void AdamW::Step(double rate_factor) {
  c10::NoGradGuard no_grad;
  for (const ParameterGroup& group : groups_) StepGroup(group, rate_factor);
}

void AdamW::StepGroup(const ParameterGroup& group, double rate_factor) {
  std::vector<at::Tensor> values, gradients, means, squares, steps;
  for (const size_t i : group.members) {
    at::Tensor p = parameters_.all()[i].second;
    if (!p.grad().defined()) continue;
    moments_[i].steps += 1;
    values.push_back(p.detach());
    gradients.push_back(p.grad());
    means.push_back(moments_[i].mean);
    squares.push_back(moments_[i].square);
    steps.push_back(moments_[i].steps);
  }
  if (values.empty()) return;
  at::_fused_adamw_(values, gradients, means, squares, {}, steps, group.learning_rate * rate_factor,
                    0.9, beta2_, group.weight_decay, 1e-8, /*amsgrad=*/false, /*maximize=*/false);
}

void AdamW::ZeroGrad() {
  for (const auto& [path, p] : parameters_.all()) p.mutable_grad() = at::Tensor();
}

NamedTensors AdamW::State() const {
  NamedTensors state;
  for (size_t i = 0; i < moments_.size(); ++i) {
    const std::string& path = parameters_.all()[i].first;
    const nn::Shard* shard = parameters_.ShardOf(path);
    state.push_back({path + ".mean", moments_[i].mean, shard});
    state.push_back({path + ".square", moments_[i].square, shard});
    state.push_back({path + ".steps", moments_[i].steps});
  }
  return state;
}

namespace {

// Read back at once, added in fp64 in their order.
double SumOfSquares(const std::vector<at::Tensor>& gradients) {
  double squares = 0;
  if (gradients.empty()) return squares;
  const at::Tensor norms = at::stack(at::_foreach_norm(gradients)).to(at::kDouble).cpu();
  const double* each = norms.const_data_ptr<double>();
  for (int64_t i = 0; i < norms.numel(); ++i) squares += std::pow(each[i], 2);
  return squares;
}

}  // namespace

double ClipGradients(const nn::Parameters& parameters, double limit, cluster::Communicator& comm) {
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> equal, sharded;
  bool shards = false;  // on all ranks alike
  for (const auto& [path, p] : parameters.all()) {
    const bool shard = parameters.ShardOf(path) != nullptr;
    shards |= shard;
    if (p.grad().defined()) (shard ? sharded : equal).push_back(p.grad());
  }
  // Equal gradients are so on all ranks, but a rank with more threads adds in another order.
  double norm = std::sqrt(SumOfSquares(equal));
  comm.AllReduce(&norm, 1, DType::kF64, cluster::Reduce::kMax);
  if (shards) {
    double squares = SumOfSquares(sharded);
    comm.AllReduce(&squares, 1, DType::kF64, cluster::Reduce::kSum);
    norm = std::sqrt(norm * norm + squares);
  }
  const double factor = limit / (norm + 1e-6);
  if (factor < 1) {
    if (!equal.empty()) at::_foreach_mul_(equal, factor);
    if (!sharded.empty()) at::_foreach_mul_(sharded, factor);
  }
  return norm;
}

}  // namespace whyrec::train
