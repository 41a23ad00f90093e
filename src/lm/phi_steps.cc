#include "src/lm/phi_steps.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "src/base/error.h"

namespace whyrec::lm {

PhiSteps::PhiSteps(const Phi& model, const std::vector<int64_t>& prompt, int64_t max_new_tokens)
    : model_(model),
      prompt_length_(static_cast<int64_t>(prompt.size()) - 1),
      total_length_(static_cast<int64_t>(prompt.size()) + max_new_tokens),
      past_(static_cast<size_t>(model.config().layers)) {
  WR_CHECK(!prompt.empty());
  if (prompt_length_ == 0) return;
  const c10::NoGradGuard no_grad;
  const Phi::Attend causal = CausalAttention({prompt_length_});
  const auto keep = [&](int64_t layer, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v) {
    Past& past = past_[static_cast<size_t>(layer)];
    past.prompt_keys = k.transpose(0, 1).contiguous();
    past.prompt_values = v.transpose(0, 1).contiguous();
    return causal(layer, q, k, v);
  };
  const at::Device device = model.table().front().second.device();
  model.Hidden(at::tensor(std::vector<int64_t>(prompt.begin(), prompt.end() - 1)).to(device),
               at::arange(prompt_length_, at::TensorOptions(at::kLong).device(device)), keep,
               total_length_);
}

at::Tensor PhiSteps::Step(const decode::StepInput& input) {
  const c10::NoGradGuard no_grad;
  WR_CHECK(!input.kept.defined(), "one sample has nobody to leave behind");
  const at::Device device = model_.table().front().second.device();
  const auto attend = [&](int64_t layer, const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v) {
    Past& past = past_[static_cast<size_t>(layer)];
    const auto extend = [&](at::Tensor& own, const at::Tensor& now) {
      if (steps_ > 0) own = own.index_select(0, input.origin.to(device));
      own = steps_ > 0 ? at::cat({own, now.unsqueeze(2)}, 2) : now.unsqueeze(2);
    };
    extend(past.keys, k);
    extend(past.values, v);
    return Attend(past, q, k, v);
  };
  const at::Tensor tokens = input.tokens.to(device);
  const at::Tensor positions =
      at::full({tokens.size(0)}, prompt_length_ + steps_, tokens.options());
  const at::Tensor hidden = model_.Hidden(tokens, positions, attend, total_length_);
  ++steps_;
  return model_.Logits(hidden);
}

// q [rows,H,dk]: all rows read the prompt in one product per key head, each its own tail.
at::Tensor PhiSteps::Attend(Past& past, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor&) const {
  const int64_t rows = q.size(0), groups = k.size(1), dk = q.size(2), shared = q.size(1) / groups;
  const at::Tensor grouped =
      q.view({rows, groups, shared, dk}) / std::sqrt(static_cast<double>(dk));
  at::Tensor scores = at::matmul(grouped, past.keys.transpose(2, 3));  // [rows,G,shared,steps]
  const bool prompt = prompt_length_ > 0;
  if (prompt) {
    const at::Tensor of_prompt =
        at::matmul(grouped.transpose(0, 1).reshape({groups, rows * shared, dk}),
                   past.prompt_keys.transpose(1, 2))
            .view({groups, rows, shared, prompt_length_})
            .transpose(0, 1);
    scores = at::cat({of_prompt, scores}, -1);
  }
  const at::Tensor weights =
      at::softmax(scores, -1, at::toOpMathType(q.scalar_type())).to(q.scalar_type());
  const int64_t own = scores.size(-1) - prompt_length_;
  at::Tensor read = at::matmul(weights.narrow(-1, prompt_length_, own), past.values);
  if (prompt) {
    read = read + at::matmul(weights.narrow(-1, 0, prompt_length_)
                                 .transpose(0, 1)
                                 .reshape({groups, rows * shared, prompt_length_}),
                             past.prompt_values)
                      .view({groups, rows, shared, dk})
                      .transpose(0, 1);
  }
  return read.reshape({rows, groups * shared, dk});
}

}  // namespace whyrec::lm
