// Losses of the T5 systems and BPR.
#pragma once

#include "src/nn/at.h"

namespace whyrec::nn {

struct LossSum {
  at::Tensor sum;     // scalar, differentiable
  int64_t count = 0;  // targets that were counted
};

// Sum of -log softmax(logits)[target] over positions, which ISRF equation 11 divides by their
// number: logits [B,T,V], targets i64 [B,T]. With `ignore_pad` targets of id 0 are left out; the
// published code counts them. Half-precision inputs are computed in fp32.
LossSum CrossEntropySum(const at::Tensor& logits, const at::Tensor& targets, bool ignore_pad);

// ISRF equations 8 and 9 as the published code computes them: cross-entropy between the scores
// R = X Y^T / tau and the soft targets softmax(tau (X X^T + Y Y^T) / 2), over rows and over columns
// of R. X, Y [B,d] with matching rows -> scalar, mean over B. Gradients flow through the targets
// too; the caller detaches Y where it is a teacher.
at::Tensor SoftDotAlignment(const at::Tensor& x, const at::Tensor& y, double tau);

// Bayesian personalised ranking (Rendle et al. 2009): the sum of -log sigmoid(positive - negative)
// over two tensors of scores of the same shape -> scalar. Half-precision inputs: in fp32.
at::Tensor BprLossSum(const at::Tensor& positive, const at::Tensor& negative);

}  // namespace whyrec::nn
