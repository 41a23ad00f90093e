#include "src/lm/segment_attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

// Attention scores computed at a time; fewer on a CPU, so that a block fits the cache.
constexpr int64_t kScoresOnCpu = 1 << 20, kScoresOnGpu = 1 << 27;
constexpr double kHidden = -std::numeric_limits<double>::infinity();

at::ScalarType SumType(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

bool IsHalf(const at::Tensor& x) {
  return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
}

// a [B,n,x] times b [B,x,m], summed and returned in at least fp32. Tensor cores take half types as
// they are; CPU operators would round the result to them.
at::Tensor Product(const at::Tensor& a, const at::Tensor& b) {
  if (b.is_cuda() && IsHalf(b)) return at::bmm(a.to(b.scalar_type()), b, at::kFloat);
  const at::ScalarType type = SumType(b.scalar_type());
  return at::bmm(a.to(type), b.to(type));
}

// Softmax over a part of the keys, unnormalised.
struct Partial {
  at::Tensor sum, top, weight;  // [B,n,dk], [B,n,1], [B,n,1]
};

// scores [B,n,m] (overwritten), values [B,m,dk]; `least` (or undefined): a lower bound of top.
Partial Soften(at::Tensor scores, const at::Tensor& values, const at::Tensor& least) {
  Partial p;
  p.top = scores.amax(-1, true);
  if (least.defined()) p.top = at::maximum(p.top, least);
  scores.sub_(p.top).exp_();
  p.weight = scores.sum(-1, true);
  p.sum = Product(scores, values);
  return p;
}

}  // namespace

SuffixCache::SuffixCache(const KeyShape& shape, int64_t width)
    : shape_(shape),
      width_(width),
      keys_(static_cast<size_t>(shape.layers)),
      values_(static_cast<size_t>(shape.layers)) {}

void SuffixCache::Grow(int64_t slots) {
  if (slots <= slots_) return;
  const int64_t grown = std::max(slots, 2 * slots_);
  for (std::vector<at::Tensor>* all : {&keys_, &values_}) {
    for (at::Tensor& slab : *all) {
      // Zeros, since what is not written yet still enters products, with weight zero.
      at::Tensor larger = at::zeros({grown, shape_.heads, width_, shape_.size},
                                    at::TensorOptions(shape_.dtype).device(shape_.device));
      if (slots_ > 0) larger.narrow(0, 0, slots_).copy_(slab);
      slab = std::move(larger);
    }
  }
  slots_ = grown;
}

void SuffixCache::Move(int64_t from, int64_t to) {
  for (const std::vector<at::Tensor>* all : {&keys_, &values_}) {
    for (const at::Tensor& slab : *all) slab.select(0, to).copy_(slab.select(0, from));
  }
}

SegmentAttention::SegmentAttention(SegmentPlan plan, const SuffixCache& suffixes, at::Device device)
    : plan_(std::move(plan)), suffixes_(&suffixes) {
  const auto rows = std::ssize(plan_.rows);
  if (rows == 0) return;
  longest_ = 1 + *std::max_element(plan_.lengths.begin(), plan_.lengths.end());
  WR_CHECK(longest_ <= suffixes.width(), longest_, " own tokens, room for ", suffixes.width());
  rows_ = at::tensor(plan_.rows).to(device);
  places_ = at::tensor(plan_.lengths).to(device);
  slots_ = at::arange(rows, at::TensorOptions(at::kLong).device(device));
  const at::Tensor at_token = at::arange(longest_, slots_.options());
  unwritten_ = at_token.gt(places_.unsqueeze(1)).view({rows, 1, 1, longest_});
}

at::Tensor SegmentAttention::operator()(int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v) {
  const int64_t n = q.size(0), heads = q.size(1), size = q.size(2), groups = k.size(1);
  Write(layer, k, v);
  const at::TensorOptions options = q.options().dtype(SumType(q.scalar_type()));
  const double scale = 1 / std::sqrt(static_cast<double>(size));
  score_scale_ =
      q.is_cuda() && IsHalf(q) ? scale : 1;  // scaled half queries would be rounded again
  q_ = (q.to(options) * (scale / score_scale_))
           .view({n, groups, heads / groups, size})
           .transpose(0, 1)
           .contiguous();
  sum_ = at::empty_like(q_);
  top_ = at::empty({groups, n, heads / groups, 1}, options);
  weight_ = at::empty_like(top_);
  if (!plan_.rows.empty()) ReadOwn(layer);
  for (const SegmentPlan::Span& span : plan_.read) ReadSegment(span, layer, true);
  for (const SegmentPlan::Span& span : plan_.below) ReadSegment(span, layer, false);
  return sum_.div_(weight_).transpose(0, 1).reshape({n, heads, size}).to(q.scalar_type());
}

void SegmentAttention::Write(int64_t layer, const at::Tensor& k, const at::Tensor& v) const {
  for (const auto& [first, count, segment] : plan_.read) {
    segment->keys.select(0, layer).copy_(k.narrow(0, first, count));
    segment->values.select(0, layer).copy_(v.narrow(0, first, count));
  }
  if (plan_.rows.empty()) return;
  const auto put = [this](const at::Tensor& slab, const at::Tensor& x) {
    slab.transpose(1, 2).index_put_({slots_, places_},
                                    x.index_select(0, rows_).to(slab.scalar_type()));
  };
  put(suffixes_->keys(layer), k);
  put(suffixes_->values(layer), v);
}

// All sequences at once, padded to the longest: suffixes are short beside prompts.
void SegmentAttention::ReadOwn(int64_t layer) {
  const auto rows = std::ssize(plan_.rows);
  const int64_t groups = q_.size(0), shared = q_.size(2), size = q_.size(3);
  const auto own = [&](const at::Tensor& slab) {  // [R*G, t, dk]
    return slab.narrow(0, 0, rows).flatten(0, 1).narrow(1, 0, longest_);
  };
  const at::Tensor q =
      q_.index_select(1, rows_).transpose(0, 1).reshape({rows * groups, shared, size});
  at::Tensor scores = Product(q, own(suffixes_->keys(layer)).transpose(1, 2));
  if (score_scale_ != 1) scores.mul_(score_scale_);
  scores.view({rows, groups, shared, longest_}).masked_fill_(unwritten_, kHidden);
  const Partial part = Soften(scores, own(suffixes_->values(layer)), {});
  const auto place = [&](at::Tensor& into, const at::Tensor& x) {
    into.index_copy_(1, rows_, x.view({rows, groups, shared, -1}).transpose(0, 1));
  };
  place(sum_, part.sum);
  place(top_, part.top);
  place(weight_, part.weight);
}

// Queries in blocks: products are [G, n*H/G, m], one per key head. `own`: the span's tokens are the
// segment's, token i sees the keys 0..i, and nothing was read for them before.
void SegmentAttention::ReadSegment(const SegmentPlan::Span& span, int64_t layer, bool own) {
  const at::Tensor keys = span.segment->keys.select(0, layer).permute({1, 2, 0});      // [G,dk,m]
  const at::Tensor values = span.segment->values.select(0, layer).permute({1, 0, 2});  // [G,m,dk]
  const int64_t groups = q_.size(0), shared = q_.size(2), length = keys.size(2);
  const int64_t most = q_.is_cuda() ? kScoresOnGpu : kScoresOnCpu;
  const int64_t block = std::max<int64_t>(most / (groups * shared * length), 1);
  for (int64_t done = 0; done < span.count; done += block) {
    const int64_t n = std::min(block, span.count - done), first = span.first + done;
    const int64_t m = own ? done + n : length;
    const auto part_of = [&](const at::Tensor& x) { return x.narrow(1, first, n).flatten(1, 2); };
    const at::Tensor sum = part_of(sum_), top = part_of(top_), weight = part_of(weight_);  // views
    at::Tensor scores = Product(part_of(q_), keys.narrow(2, 0, m));
    if (score_scale_ != 1) scores.mul_(score_scale_);
    if (own) {
      const at::Tensor later = at::ones({n, n}, scores.options().dtype(at::kBool)).triu_(1);
      scores.view({groups, n, shared, m})
          .narrow(3, done, n)
          .masked_fill_(later.unsqueeze(1), kHidden);
    }
    const Partial part = Soften(scores, values.narrow(1, 0, m), own ? at::Tensor() : top);
    if (own) {
      sum.copy_(part.sum);
      weight.copy_(part.weight);
    } else {
      const at::Tensor kept = (top - part.top).exp_();
      sum.mul_(kept).add_(part.sum);
      weight.mul_(kept).add_(part.weight);
    }
    top.copy_(part.top);
  }
}

}  // namespace whyrec::lm
