// Keys and values of prompts as a radix tree over tokens: a common prefix is one chain of segments,
// computed once. Shapes: L layers, G key heads of size dk.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::lm {

struct KeyShape {
  int64_t layers = 0, heads = 0, size = 0;  // L, G, dk
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

// A run of tokens between two branching points. Its keys and values depend on all tokens before it.
struct Segment {
  enum class State { kWaiting, kReading, kRead };

  std::vector<int64_t> ids;
  int64_t begin = 0;           // tokens before it
  at::Tensor keys, values;     // [L, n, G, dk], defined from kReading on
  State state = State::kRead;  // roots hold nothing and are read

  Segment* parent = nullptr;                             // none: a root
  int64_t key = 0;                                       // its place among the parent's children
  std::map<int64_t, std::unique_ptr<Segment>> children;  // shared ones by their first token
  int64_t pins = 0;                                      // running sequences that end here
  int64_t last_use = 0;
  bool alone = false;                   // no other prompt may use it
  std::shared_ptr<const int64_t> slab;  // tokens of the allocation its views belong to

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
};

// The budget counts allocations: half of a split segment frees its tokens only together with the
// other half. One thread at a time.
class PrefixCache {
 public:
  PrefixCache(const KeyShape& shape, int64_t budget_tokens);

  // Keys made under different rotary factors must never meet: one tree each.
  enum class Factors { kShort, kLong };

  // Tokens at the beginning of `ids` that the tree holds.
  int64_t Match(Factors factors, std::span<const int64_t> ids) const;

  // Pins the chain of segments that spells `ids` and reserves `extra` more tokens for the sequence
  // that asks. What the tree lacks is added as one segment, to be read (kWaiting); a segment that
  // `ids` leaves half-way is split. To make room, unpinned leaves are evicted, least recently used
  // first; nullptr, with nothing evicted, when that cannot be enough. `share` false: an unshared
  // segment.
  Segment* Acquire(Factors factors, std::span<const int64_t> ids, int64_t extra, bool share = true);
  // Undoes Acquire. Segments that were never read, and unshared ones, are removed at once.
  void Release(Segment* leaf, int64_t extra);

  // From the root's child to `leaf`.
  static std::vector<Segment*> Chain(Segment* leaf);
  // Cuts after `n` tokens, by views; returns the first part. Pins and children stay with the rest.
  Segment* Split(Segment* segment, int64_t n);
  void BeginRead(Segment* segment);  // allocates keys and values

  void Clear();  // evicts all that is not pinned

  int64_t used() const { return used_; }  // tokens, reserved ones included
  int64_t evicted() const { return evicted_; }
  const KeyShape& shape() const { return shape_; }

 private:
  Segment* Root(Factors factors) { return factors == Factors::kShort ? &short_ : &long_; }
  Segment* Add(Segment* parent, int64_t key, std::span<const int64_t> ids, bool alone);
  void Remove(Segment* segment);
  void Touch(Segment* leaf);
  bool MakeRoom(int64_t tokens);
  void EvictOldest();

  KeyShape shape_;
  int64_t budget_, used_ = 0, evicted_ = 0, clock_ = 0, alone_ = 0;
  Segment short_, long_, private_;  // roots
};

}  // namespace whyrec::lm
