// InfoNCE with sampled in-batch negatives: PULSE equation 1 (van den Oord et al. 2018).
#pragma once

#include "src/nn/at.h"

namespace whyrec::nn {

// For each anchor 0..batch-1 `count` distinct other rows as its negatives, or all others when there
// are fewer -> i64 [batch, min(count, batch - 1)] on the CPU. A function of seed, step and anchor,
// so all ranks draw the same.
at::Tensor DrawNegatives(int64_t batch, int64_t count, uint64_t seed, int64_t step);

// Mean over anchors of -log( e^(c_i/tau) / (e^(c_i/tau) + sum_k e^(c_ik/tau)) ), where c_i is the
// cosine of anchor i and its positive, c_ik that of anchor i and row negatives[i,k] of `positives`.
// anchors, positives [B,d]; negatives i64 [B,K]; log_tau scalar -> scalar. Gradients flow into all
// of them, negatives included. Half-precision inputs are computed in fp32.
at::Tensor InfoNce(const at::Tensor& anchors, const at::Tensor& positives,
                   const at::Tensor& negatives, const at::Tensor& log_tau);

}  // namespace whyrec::nn
