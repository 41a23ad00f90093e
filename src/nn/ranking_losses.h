// Losses of systems that score items. Each is a sum over n examples -> scalar, differentiable in
// all scores, computed in fp32 where the scores are of a half type; slices of the examples add up
// to the whole. Per-pair BPR and the T5 losses: losses.h.
//
// Letters: s+ [n] scores of the positives, s- [n,k] scores of k negatives of each, I items,
// sigma the logistic function.
#pragma once

#include "src/nn/at.h"

namespace whyrec::nn {

// Binary cross-entropy: -log sigma(s+) - sum_j log sigma(-s-_j). SASRec (Kang & McAuley 2018)
// has k = 1.
at::Tensor BceLossSum(const at::Tensor& positive, const at::Tensor& negatives);

// Generalised binary cross-entropy (gSASRec: Petrov & Macdonald 2023), which undoes the
// overconfidence of few negatives: -beta log sigma(s+) - sum_j log sigma(-s-_j) with
// beta = alpha (t (1 - 1/alpha) + 1/alpha) = 1 - t (1 - alpha) and alpha = k / (I - 1), the share
// of the other items that are drawn. `calibration` t in [0, 1]: 0 is BceLossSum. The paper divides
// by k + 1. Its code passes -log(sigma(s+)^-beta - 1) to the plain loss, which is the same number
// and overflows.
at::Tensor GbceLossSum(const at::Tensor& positive, const at::Tensor& negatives, int64_t items,
                       double calibration);

// Full cross-entropy: -log softmax(logits)[target]. logits [n,I], targets i64 [n] in 0..I-1.
at::Tensor ItemCrossEntropySum(const at::Tensor& logits, const at::Tensor& targets);

// Which items were sampled, as rows of the catalogue.
struct SampledItems {
  at::Tensor positives;  // i64 [n]
  at::Tensor negatives;  // i64 [n,k], or [k]: the same for all examples
  // Log of the number of times that an item is expected among the k draws, log(k q), [I]; undefined
  // for no correction.
  at::Tensor log_expected;
  // Whether the positive's score is corrected too.
  bool correct_positive = false;
};

// Sampled softmax: -log( e^(s+) / (e^(s+) + sum_j e^(s-_j)) ). Negatives that are the positive of
// their example do not count. With `log_expected` each s-_j is lowered by it, so that the sum over
// j estimates the sum over all other items without bias (Bengio & Senecal 2008);
// `correct_positive` lowers s+ likewise, as Jean et al. (2015) and TensorFlow do.
at::Tensor SampledSoftmaxLossSum(const at::Tensor& positive, const at::Tensor& negatives,
                                 const SampledItems& items);

// BPR with a floor, as SELFRec and RecBole have it: -log(floor + sigma(s+ - s-)) over two tensors
// of one shape. Unlike BprLossSum it is bounded, and far wrong pairs have no gradient.
at::Tensor FlooredBprLossSum(const at::Tensor& positive, const at::Tensor& negative, double floor);

// Cosine contrastive loss (SimpleX: Mao et al. 2021):
// max(0, 1 - c+) + (weight / k) sum_j max(0, c-_j - margin) for cosines c+ [n], c- [n,k].
at::Tensor CosineContrastiveLossSum(const at::Tensor& positive, const at::Tensor& negatives,
                                    double margin, double weight);

// Sum of the squares of all elements: the L2 term of the rows that a batch reads. Not empty.
at::Tensor SumOfSquares(at::TensorList rows);

}  // namespace whyrec::nn
