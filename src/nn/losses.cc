#include "src/nn/losses.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/softmax.h>

namespace whyrec::nn {

LossSum CrossEntropySum(const at::Tensor& logits, const at::Tensor& targets, bool ignore_pad) {
  const bool half = logits.element_size() < 4;
  const int64_t ignored = ignore_pad ? 0 : -100;
  const at::Tensor sum =
      at::cross_entropy_loss((half ? logits.to(at::kFloat) : logits).flatten(0, -2),
                             targets.flatten(), {}, at::Reduction::Sum, ignored);
  return {sum, ignore_pad ? targets.count_nonzero().item<int64_t>() : targets.numel()};
}

at::Tensor SoftDotAlignment(const at::Tensor& x, const at::Tensor& y, double tau) {
  const at::Tensor scores = at::mm(x, y.t()) / tau;
  const at::Tensor targets = at::softmax((at::mm(y, y.t()) + at::mm(x, x.t())) * (tau / 2), 1);
  // The column term pairs transposed targets with transposed scores, so both terms are sums over
  // the same matrix.
  const at::Tensor log_likelihood = at::log_softmax(scores, 1) + at::log_softmax(scores, 0);
  return (targets * log_likelihood).sum() * (-0.5 / static_cast<double>(x.size(0)));
}

at::Tensor BprLossSum(const at::Tensor& positive, const at::Tensor& negative) {
  const at::Tensor margin = positive - negative;
  return -at::log_sigmoid(margin.element_size() < 4 ? margin.to(at::kFloat) : margin).sum();
}

}  // namespace whyrec::nn
