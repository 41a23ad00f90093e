#include "src/lm/prefix_cache.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <set>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

int64_t CommonPrefix(std::span<const int64_t> a, std::span<const int64_t> b) {
  const size_t most = std::min(a.size(), b.size());
  size_t n = 0;
  while (n < most && a[n] == b[n]) ++n;
  return static_cast<int64_t>(n);
}

template <typename Visit>
void ForEach(Segment& root, const Visit& visit) {
  std::vector<Segment*> open = {&root};
  while (!open.empty()) {
    Segment* segment = open.back();
    open.pop_back();
    if (segment != &root) visit(segment);
    for (const auto& [key, child] : segment->children) open.push_back(child.get());
  }
}

// Tokens that some segments hold of the budget, shared allocations once.
struct Tally {
  void Add(const Segment& segment) {
    if (!segment.slab) {
      tokens += segment.size();
    } else if (slabs.insert(segment.slab.get()).second) {
      tokens += *segment.slab;
    }
  }
  std::set<const int64_t*> slabs;
  int64_t tokens = 0;
};

}  // namespace

PrefixCache::PrefixCache(const KeyShape& shape, int64_t budget_tokens)
    : shape_(shape), budget_(budget_tokens) {}

int64_t PrefixCache::Match(Factors factors, std::span<const int64_t> ids) const {
  const Segment* at = factors == Factors::kShort ? &short_ : &long_;
  int64_t done = 0;
  while (done < std::ssize(ids)) {
    const auto found = at->children.find(ids[static_cast<size_t>(done)]);
    if (found == at->children.end()) break;
    at = found->second.get();
    const int64_t n = CommonPrefix(at->ids, ids.subspan(static_cast<size_t>(done)));
    done += n;
    if (n < at->size()) break;
  }
  return done;
}

Segment* PrefixCache::Acquire(Factors factors, std::span<const int64_t> ids, int64_t extra,
                              bool share) {
  Segment* at = share ? Root(factors) : &private_;
  while (share && !ids.empty()) {
    const auto found = at->children.find(ids.front());
    if (found == at->children.end()) break;
    at = found->second.get();
    const int64_t n = CommonPrefix(at->ids, ids);
    if (n < at->size()) at = Split(at, n);
    ids = ids.subspan(static_cast<size_t>(n));
  }
  ++at->pins;  // what was found must outlive the evictions
  const bool room = MakeRoom(std::ssize(ids) + extra);
  --at->pins;
  if (!room) return nullptr;
  if (!ids.empty()) at = Add(at, share ? ids.front() : alone_++, ids, !share);
  ++at->pins;
  used_ += extra;
  Touch(at);
  return at;
}

void PrefixCache::Release(Segment* leaf, int64_t extra) {
  WR_CHECK(leaf->pins > 0, "released more often than acquired");
  --leaf->pins;
  used_ -= extra;
  Touch(leaf);
  while (leaf->parent && leaf->pins == 0 && leaf->children.empty() &&
         (leaf->alone || leaf->state != Segment::State::kRead)) {
    Segment* parent = leaf->parent;
    Remove(leaf);
    leaf = parent;
  }
}

std::vector<Segment*> PrefixCache::Chain(Segment* leaf) {
  std::vector<Segment*> chain;
  for (; leaf->parent; leaf = leaf->parent) chain.push_back(leaf);
  std::reverse(chain.begin(), chain.end());
  return chain;
}

Segment* PrefixCache::Split(Segment* segment, int64_t n) {
  WR_CHECK(n > 0 && n < segment->size() && segment->state != Segment::State::kReading, n, " of ",
           segment->size());
  auto place = segment->parent->children.find(segment->key);
  std::unique_ptr<Segment> rest = std::move(place->second);
  place->second = std::make_unique<Segment>();
  Segment* head = place->second.get();
  head->ids.assign(rest->ids.begin(), rest->ids.begin() + n);
  head->begin = rest->begin;
  head->state = rest->state;
  head->parent = rest->parent;
  head->key = rest->key;
  head->last_use = rest->last_use;
  head->alone = rest->alone;
  head->slab = rest->slab;
  if (rest->keys.defined()) {
    head->keys = rest->keys.narrow(1, 0, n);
    head->values = rest->values.narrow(1, 0, n);
    rest->keys = rest->keys.narrow(1, n, rest->size() - n);
    rest->values = rest->values.narrow(1, n, rest->size() - n);
  }
  rest->ids.erase(rest->ids.begin(), rest->ids.begin() + n);
  rest->begin += n;
  rest->parent = head;
  rest->key = rest->ids.front();
  head->children.emplace(rest->key, std::move(rest));
  return head;
}

void PrefixCache::BeginRead(Segment* segment) {
  WR_CHECK(segment->state == Segment::State::kWaiting, "read twice");
  segment->state = Segment::State::kReading;
  segment->keys = at::empty({shape_.layers, segment->size(), shape_.heads, shape_.size},
                            at::TensorOptions(shape_.dtype).device(shape_.device));
  segment->values = at::empty_like(segment->keys);
  segment->slab = std::make_shared<const int64_t>(segment->size());
}

void PrefixCache::Clear() {
  const auto evictable = [this] {
    std::vector<Segment*> leaves;
    for (Segment* root : {&short_, &long_}) {
      ForEach(*root, [&](Segment* s) {
        if (s->children.empty() && s->pins == 0) leaves.push_back(s);
      });
    }
    return leaves;
  };
  for (auto leaves = evictable(); !leaves.empty(); leaves = evictable()) {
    for (Segment* leaf : leaves) {
      evicted_ += leaf->size();
      Remove(leaf);
    }
  }
}

Segment* PrefixCache::Add(Segment* parent, int64_t key, std::span<const int64_t> ids, bool alone) {
  auto segment = std::make_unique<Segment>();
  segment->ids.assign(ids.begin(), ids.end());
  segment->begin = parent->begin + parent->size();
  segment->state = Segment::State::kWaiting;
  segment->parent = parent;
  segment->key = key;
  segment->alone = alone;
  used_ += segment->size();
  return (parent->children[key] = std::move(segment)).get();
}

void PrefixCache::Remove(Segment* segment) {
  if (!segment->slab) {
    used_ -= segment->size();
  } else if (segment->slab.use_count() == 1) {
    used_ -= *segment->slab;
  }
  segment->parent->children.erase(segment->key);
}

void PrefixCache::Touch(Segment* leaf) {
  ++clock_;
  for (; leaf; leaf = leaf->parent) leaf->last_use = clock_;
}

bool PrefixCache::MakeRoom(int64_t tokens) {
  if (used_ + tokens <= budget_) return true;
  // Tokens that no eviction can free: segments in or below which a running sequence ends.
  Tally cached, staying;
  std::set<const Segment*> stay;
  for (Segment* root : {&short_, &long_}) {
    ForEach(*root, [&](Segment* segment) {
      cached.Add(*segment);
      if (segment->pins == 0) return;
      for (Segment* s = segment; s->parent && stay.insert(s).second; s = s->parent) staying.Add(*s);
    });
  }
  if (used_ - (cached.tokens - staying.tokens) + tokens > budget_) return false;
  while (used_ + tokens > budget_) EvictOldest();
  return true;
}

void PrefixCache::EvictOldest() {
  Segment* oldest = nullptr;
  for (Segment* root : {&short_, &long_}) {
    ForEach(*root, [&](Segment* segment) {
      if (segment->children.empty() && segment->pins == 0 &&
          (!oldest || segment->last_use < oldest->last_use))
        oldest = segment;
    });
  }
  WR_CHECK(oldest, "nothing to evict, ", used_, " tokens used");
  evicted_ += oldest->size();
  Remove(oldest);
}

}  // namespace whyrec::lm
