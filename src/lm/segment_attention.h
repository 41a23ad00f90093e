// Attention of one pass over cached segments: all rows that share a segment read its keys in one
// product, and the partial results are merged by their log-sum-exp. Shapes: N packed tokens, H
// query and G key heads of size dk, R decoding sequences, t tokens of the longest one's own suffix.
#pragma once

#include <cstdint>
#include <vector>

#include "src/lm/prefix_cache.h"
#include "src/nn/at.h"

namespace whyrec::lm {

// Keys and values of the tokens that belong to one sequence only: the prompt's last and those drawn
// after it. Sequences fill the slots 0..R-1, each with room for `width` tokens.
class SuffixCache {
 public:
  SuffixCache(const KeyShape& shape, int64_t width);

  void Grow(int64_t slots);  // at least so many; doubles
  void Move(int64_t from, int64_t to);

  const at::Tensor& keys(int64_t layer) const { return keys_[static_cast<size_t>(layer)]; }
  const at::Tensor& values(int64_t layer) const { return values_[static_cast<size_t>(layer)]; }
  int64_t width() const { return width_; }

 private:
  KeyShape shape_;
  int64_t width_, slots_ = 0;
  std::vector<at::Tensor> keys_, values_;  // per layer [slots, G, width, dk]
};

// Which tokens attend to which segments in a pass. Tokens that use the same segment are packed
// together: a new segment's tokens, then the sequences that end there, then everything below it.
struct SegmentPlan {
  struct Span {
    int64_t first, count;  // packed tokens
    Segment* segment;
  };
  std::vector<Span> read;     // new segments: their own tokens, each attending to those before it
  std::vector<Span> below;    // whole segments, and the tokens that see all of them
  std::vector<int64_t> rows;  // [R] packed token of each slot
  std::vector<int64_t> lengths;  // [R] own tokens before it
};

// Every token must be in `read` or `rows`. Writes the keys of new segments and of `rows`.
class SegmentAttention {
 public:
  SegmentAttention(SegmentPlan plan, const SuffixCache& suffixes, at::Device device);

  // q [N,H,dk], k and v [N,G,dk] -> [N,H,dk] in q's type; sums and products of half types in fp32.
  at::Tensor operator()(int64_t layer, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v);

 private:
  void Write(int64_t layer, const at::Tensor& k, const at::Tensor& v) const;
  void ReadOwn(int64_t layer);
  void ReadSegment(const SegmentPlan::Span& span, int64_t layer, bool own);

  SegmentPlan plan_;
  const SuffixCache* suffixes_;
  int64_t longest_ = 0;               // t
  at::Tensor rows_, slots_, places_;  // i64 [R]
  at::Tensor unwritten_;              // bool [R,1,1,t]: slots' tokens still to come
  // Of the layer at work: queries and merged results so far, [G,N,H/G,dk] and [G,N,H/G,1].
  at::Tensor q_, sum_, top_, weight_;
  double score_scale_ = 1;  // what is left of 1/sqrt(dk)
};

}  // namespace whyrec::lm
