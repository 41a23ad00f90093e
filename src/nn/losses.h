// Losses.
#pragma once

#include "src/nn/at.h"

namespace whyrec::nn {

struct LossSum {
  at::Tensor sum;     // scalar, differentiable
  int64_t count = 0;  // targets that were counted
};

// Sum of -log softmax(logits)[target] over positions (isrf 6.7, equation 11 before the division):
// logits [B,T,V], targets i64 [B,T]. With `ignore_pad` targets of id 0 are left out. Half types: in
// fp32.
LossSum TextLoss(const at::Tensor& logits, const at::Tensor& targets, bool ignore_pad);

// Isrf 6.6, the published code's form: X, Y [B,d] with matching rows -> scalar, mean over B.
// Gradients also flow through the soft targets; detach Y outside where it is a teacher.
at::Tensor SoftDotAlignment(const at::Tensor& x, const at::Tensor& y, double tau);

// Bayesian personalised ranking (Rendle et al. 2009): the sum of -log sigmoid(positive - negative)
// over pairs of scores of one shape -> scalar. Half types: in fp32.
at::Tensor BprLossSum(const at::Tensor& positive, const at::Tensor& negative);

}  // namespace whyrec::nn
