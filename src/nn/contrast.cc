#include "src/nn/contrast.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>

#include "src/base/error.h"
#include "src/nn/cosine.h"
#include "src/nn/ranking_losses.h"

namespace whyrec::nn {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// What dot products are taken of.
at::Tensor Comparable(const at::Tensor& x, Similarity similarity) {
  return similarity == Similarity::kCosine ? Directions(x) : Wide(x);
}

// i64 [n]: first, first + 1, ..
at::Tensor Places(const at::Tensor& anchors, int64_t first, int64_t of) {
  const int64_t n = anchors.size(0);
  WR_CHECK(first >= 0 && first + n <= of, "rows ", first, " to ", first + n, " of ", of);
  return at::arange(first, first + n, at::TensorOptions(at::kLong).device(anchors.device()));
}

// bool [n,N]: whether a column is the anchor's own place.
at::Tensor OwnPlaces(const at::Tensor& anchors, int64_t first, int64_t columns) {
  const at::Tensor all = at::arange(columns, at::TensorOptions(at::kLong).device(anchors.device()));
  return all.eq(Places(anchors, first, columns).unsqueeze(1));
}

}  // namespace

at::Tensor InBatchContrastSum(const at::Tensor& anchors, const at::Tensor& keys, int64_t first,
                              double tau) {
  return TableContrastSum(anchors, keys, Places(anchors, first, keys.size(0)), tau);
}

at::Tensor NtXentSum(const at::Tensor& anchors, const at::Tensor& views, int64_t first, double tau,
                     Similarity similarity) {
  const int64_t rows = views.size(0);
  WR_CHECK(rows % 2 == 0, rows, " views are not two of each");
  const at::Tensor all =
      at::mm(Comparable(anchors, similarity), Comparable(views, similarity).t()) / tau;
  const at::Tensor partners = (Places(anchors, first, rows) + rows / 2).remainder(rows);
  return ItemCrossEntropySum(all.masked_fill(OwnPlaces(anchors, first, rows), kNever), partners);
}

at::Tensor TableContrastSum(const at::Tensor& anchors, const at::Tensor& table,
                            const at::Tensor& rows, double tau) {
  return ItemCrossEntropySum(Cosines(anchors, table) / tau, rows);
}

at::Tensor NegativeViewsContrastSum(const at::Tensor& anchors, const at::Tensor& negatives,
                                    int64_t first, const at::Tensor& positives, double tau) {
  const int64_t views = negatives.size(0);
  const at::Tensor own = OwnPlaces(anchors, first, views);
  const at::Tensor near = (Cosines(anchors, negatives) / tau).masked_fill(own, kNever);
  const at::Tensor far = Cosines(anchors, positives) / tau;
  const at::Tensor log_shares = at::log_softmax(at::cat({near, far}, 1), 1).narrow(1, 0, views);
  return -log_shares.masked_fill(own, 0).sum() /
         static_cast<double>(std::max<int64_t>(views - 1, 1));
}

at::Tensor LateInteraction(const at::Tensor& a, const at::Tensor& b) {
  return at::mm(Wide(a).flatten(0, 1), Wide(b).flatten(0, 1).t())
      .view({a.size(0), a.size(1), b.size(0), b.size(1)})
      .amax(3)
      .sum(1);
}

at::Tensor PairwiseBceSum(const at::Tensor& scores, int64_t first) {
  const at::Tensor wide = Wide(scores);
  const at::Tensor own = OwnPlaces(wide, first, wide.size(1));
  return -at::log_sigmoid(at::where(own, wide, -wide)).sum();
}

at::Tensor GivenNegativesContrastSum(const at::Tensor& anchors, const at::Tensor& positives,
                                     const at::Tensor& negatives, double tau,
                                     Similarity similarity) {
  const at::Tensor a = Comparable(anchors, similarity);
  const at::Tensor own = (a * Comparable(positives, similarity)).sum(1, /*keepdim=*/true);
  const at::Tensor n = Comparable(negatives, similarity);
  const at::Tensor others =
      n.dim() == 2 ? at::mm(a, n.t()) : at::matmul(n, a.unsqueeze(2)).squeeze(2);
  return -at::log_softmax(at::cat({own, others}, 1) / tau, 1).select(1, 0).sum();
}

}  // namespace whyrec::nn
