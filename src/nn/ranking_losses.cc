#include "src/nn/ranking_losses.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>

#include <limits>

#include "src/base/error.h"
#include "src/nn/cosine.h"
#include "src/nn/losses.h"

namespace whyrec::nn {
namespace {

void CheckShapes(const at::Tensor& positive, const at::Tensor& negatives) {
  WR_CHECK(positive.dim() == 1 && negatives.dim() == 2 && negatives.size(0) == positive.size(0),
           "positive scores ", positive.sizes(), ", negative scores ", negatives.sizes());
}

// -beta log sigma(s+) - sum_j log sigma(-s-_j)
at::Tensor WeightedBce(const at::Tensor& positive, const at::Tensor& negatives, double beta) {
  CheckShapes(positive, negatives);
  return -beta * at::log_sigmoid(Wide(positive)).sum() - at::log_sigmoid(-Wide(negatives)).sum();
}

}  // namespace

at::Tensor BceLossSum(const at::Tensor& positive, const at::Tensor& negatives) {
  return WeightedBce(positive, negatives, 1);
}

at::Tensor GbceLossSum(const at::Tensor& positive, const at::Tensor& negatives, int64_t items,
                       double calibration) {
  WR_CHECK(items > 1, "negatives of ", items, " items");
  const double alpha = static_cast<double>(negatives.size(-1)) / static_cast<double>(items - 1);
  return WeightedBce(positive, negatives, 1 - calibration * (1 - alpha));
}

at::Tensor ItemCrossEntropySum(const at::Tensor& logits, const at::Tensor& targets) {
  return TextLoss(logits, targets, /*ignore_pad=*/false).sum;
}

at::Tensor SampledSoftmaxLossSum(const at::Tensor& positive, const at::Tensor& negatives,
                                 const SampledItems& items) {
  CheckShapes(positive, negatives);
  at::Tensor own = Wide(positive), others = Wide(negatives);
  if (items.log_expected.defined()) {
    const at::Tensor& log_expected = items.log_expected;
    others = others -
             log_expected.index_select(0, items.negatives.flatten()).view(items.negatives.sizes());
    if (items.correct_positive) own = own - log_expected.index_select(0, items.positives);
  }
  others = others.masked_fill(items.negatives.eq(items.positives.unsqueeze(1)),
                              -std::numeric_limits<double>::infinity());
  return -at::log_softmax(at::cat({own.unsqueeze(1), others}, 1), 1).select(1, 0).sum();
}

at::Tensor FlooredBprLossSum(const at::Tensor& positive, const at::Tensor& negative, double floor) {
  return -at::log(floor + at::sigmoid(Wide(positive) - Wide(negative))).sum();
}

at::Tensor CosineContrastiveLossSum(const at::Tensor& positive, const at::Tensor& negatives,
                                    double margin, double weight) {
  CheckShapes(positive, negatives);
  const double share = weight / static_cast<double>(negatives.size(1));
  return at::relu(1 - Wide(positive)).sum() + share * at::relu(Wide(negatives) - margin).sum();
}

at::Tensor SumOfSquares(at::TensorList rows) {
  at::Tensor sum;
  for (const at::Tensor& x : rows) {
    const at::Tensor squares = Wide(x).square().sum();
    sum = sum.defined() ? sum + squares : squares;
  }
  return sum;
}

}  // namespace whyrec::nn
