#include "src/nn/info_nce.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "src/base/rng.h"
#include "src/nn/cosine.h"

namespace whyrec::nn {
at::Tensor DrawNegatives(int64_t batch, int64_t count, uint64_t seed, int64_t step) {
  const int64_t others = batch - 1, drawn = std::min(count, others);
  std::vector<int64_t> all;
  all.reserve(static_cast<size_t>(batch * drawn));
  for (int64_t anchor = 0; anchor < batch; ++anchor) {
    Rng rng(seed, "negatives", static_cast<uint64_t>(step), static_cast<uint64_t>(anchor));
    std::vector<int64_t> own;  // Floyd 1987: a subset without a list of all others
    for (int64_t top = others - drawn; top < others; ++top) {
      const auto other = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(top) + 1));
      own.push_back(std::ranges::find(own, other) == own.end() ? other : top);
    }
    for (const int64_t other : own) all.push_back(other + (other >= anchor));
  }
  return at::tensor(all, at::kLong).view({batch, drawn});
}

at::Tensor InfoNce(const at::Tensor& anchors, const at::Tensor& positives,
                   const at::Tensor& negatives, const at::Tensor& log_tau) {
  const at::Tensor own =
      at::arange(anchors.size(0), at::TensorOptions(at::kLong).device(anchors.device()));
  const at::Tensor rows = at::cat({own.unsqueeze(1), negatives.to(anchors.device())}, 1);
  const at::Tensor logits = at::gather(Cosines(anchors, positives), 1, rows) / at::exp(log_tau);
  return -at::log_softmax(logits, 1).select(1, 0).mean();
}

}  // namespace whyrec::nn
