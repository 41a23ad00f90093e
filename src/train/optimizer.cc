#include "src/train/optimizer.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

namespace whyrec::train {

AdamW::AdamW(nn::Parameters& parameters, double learning_rate, double weight_decay)
    : parameters_(parameters), learning_rate_(learning_rate), weight_decay_(weight_decay) {
  c10::NoGradGuard no_grad;
  for (const auto& [path, p] : parameters.all())
    moments_.push_back(
        {at::zeros_like(p), at::zeros_like(p), at::zeros({}, p.options().dtype(at::kFloat))});
}

void AdamW::Step() {
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> values, gradients, means, squares, steps;
  for (size_t i = 0; i < moments_.size(); ++i) {
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
  at::_fused_adamw_(values, gradients, means, squares, {}, steps, learning_rate_, 0.9, 0.999,
                    weight_decay_, 1e-8, /*amsgrad=*/false, /*maximize=*/false);
}

void AdamW::ZeroGrad() {
  for (const auto& [path, p] : parameters_.all()) p.mutable_grad() = at::Tensor();
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::State() const {
  std::vector<std::pair<std::string, at::Tensor>> state;
  for (size_t i = 0; i < moments_.size(); ++i) {
    const std::string& path = parameters_.all()[i].first;
    state.emplace_back(path + ".mean", moments_[i].mean);
    state.emplace_back(path + ".square", moments_[i].square);
    state.emplace_back(path + ".steps", moments_[i].steps);
  }
  return state;
}

}  // namespace whyrec::train
