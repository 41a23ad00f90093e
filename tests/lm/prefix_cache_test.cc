// The prefix tree against a plain map from token sequences to values.
#include "src/lm/prefix_cache.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <set>

#include "src/base/rng.h"

namespace whyrec::lm {
namespace {

using Ids = std::vector<int64_t>;
using Factors = PrefixCache::Factors;
using Stage = Segment::State;

const KeyShape kShape = {.layers = 2, .heads = 1, .size = 2};

// What a token's key is made of here: all tokens before it, and it.
double KeyOf(const Ids& ids, int64_t end) {
  uint64_t hash = 1;
  for (int64_t i = 0; i < end; ++i) hash = Mix(hash + static_cast<uint64_t>(ids[i]) + 1);
  return static_cast<double>(hash % 100003);
}

Ids Spell(Segment* leaf) {
  Ids ids;
  for (const Segment* segment : PrefixCache::Chain(leaf))
    ids.insert(ids.end(), segment->ids.begin(), segment->ids.end());
  return ids;
}

// Reads what waits; returns its tokens.
int64_t Read(PrefixCache& cache, Segment* leaf) {
  const Ids ids = Spell(leaf);
  int64_t read = 0;
  for (Segment* segment : PrefixCache::Chain(leaf)) {
    if (segment->state != Segment::State::kWaiting) continue;
    cache.BeginRead(segment);
    for (int64_t i = 0; i < segment->size(); ++i) {
      segment->keys.select(1, i).fill_(KeyOf(ids, segment->begin + i + 1));
      segment->values.select(1, i).fill_(-KeyOf(ids, segment->begin + i + 1));
    }
    segment->state = Segment::State::kRead;
    read += segment->size();
  }
  return read;
}

void ExpectKeys(Segment* leaf, const Ids& want) {
  EXPECT_EQ(Spell(leaf), want);
  int64_t begin = 0;
  for (const Segment* segment : PrefixCache::Chain(leaf)) {
    EXPECT_EQ(segment->begin, begin);
    EXPECT_EQ(segment->keys.size(1), segment->size());
    for (int64_t i = 0; i < segment->size(); ++i) {
      const double key = KeyOf(want, begin + i + 1);
      EXPECT_EQ(segment->keys[1][i][0][1].item<double>(), key);
      EXPECT_EQ(segment->values[0][i][0][0].item<double>(), -key);
    }
    begin += segment->size();
  }
}

TEST(PrefixCache, PromptsThatBeginAlikeShareOneAllocation) {
  PrefixCache cache(kShape, 100);
  Segment* a = cache.Acquire(Factors::kShort, Ids{1, 2, 3, 4, 5}, 10);
  EXPECT_EQ(Read(cache, a), 5);
  EXPECT_EQ(cache.used(), 15);
  const void* before = a->keys.data_ptr();
  Segment* b = cache.Acquire(Factors::kShort, Ids{1, 2, 3, 9}, 10);
  EXPECT_EQ(Read(cache, b), 1);
  EXPECT_EQ(cache.used(), 26);
  ExpectKeys(a, {1, 2, 3, 4, 5});
  ExpectKeys(b, {1, 2, 3, 9});
  EXPECT_EQ(a->parent, b->parent);
  EXPECT_EQ(a->parent->keys.data_ptr(), before);  // a view of what stood there
  EXPECT_EQ(cache.Match(Factors::kShort, Ids{1, 2, 3, 4, 7, 5}), 4);
  EXPECT_EQ(cache.Match(Factors::kLong, Ids{1, 2, 3}), 0);
  Segment* whole = cache.Acquire(Factors::kShort, Ids{1, 2}, 1);
  EXPECT_EQ(Read(cache, whole), 0);
  ExpectKeys(whole, {1, 2});
  ExpectKeys(a, {1, 2, 3, 4, 5});
}

TEST(PrefixCache, WhatNobodyReadOrMaySharesLeaves) {
  PrefixCache cache(kShape, 100);
  Segment* a = cache.Acquire(Factors::kShort, Ids{1, 2, 3}, 7);
  Segment* b = cache.Acquire(Factors::kShort, Ids{1, 2, 4}, 7);  // splits what waits
  EXPECT_EQ(cache.used(), 4 + 14);
  cache.Release(a, 7);
  EXPECT_EQ(cache.used(), 3 + 7);
  Read(cache, b);
  cache.Release(b, 7);
  EXPECT_EQ(cache.used(), 3);  // {1, 2} and {4} stay
  Segment* own = cache.Acquire(Factors::kShort, Ids{1, 2, 4}, 0, false);
  EXPECT_EQ(Read(cache, own), 3);
  EXPECT_EQ(cache.used(), 6);
  cache.Release(own, 0);
  EXPECT_EQ(cache.used(), 3);
  EXPECT_EQ(cache.evicted(), 0);
}

TEST(PrefixCache, TheLeafUnusedForLongestGoesAndPinnedOnesStay) {
  PrefixCache cache(kShape, 12);
  const auto use = [&](const Ids& ids) {
    Segment* leaf = cache.Acquire(Factors::kShort, ids, 0);
    ASSERT_NE(leaf, nullptr);
    Read(cache, leaf);
    cache.Release(leaf, 0);
  };
  use({1, 1, 1, 1});
  use({2, 2, 2, 2});
  use({3, 3, 3, 3});
  use({1, 1, 1, 1});
  use({4, 4});
  EXPECT_EQ(cache.Match(Factors::kShort, Ids{2, 2}), 0);
  EXPECT_EQ(cache.Match(Factors::kShort, Ids{1, 1, 1, 1}), 4);
  EXPECT_EQ(cache.Match(Factors::kShort, Ids{3, 3, 3, 3}), 4);
  EXPECT_EQ(cache.evicted(), 4);
  Segment* pinned = cache.Acquire(Factors::kShort, Ids{1, 1, 1, 1}, 2);
  EXPECT_EQ(cache.Acquire(Factors::kShort, Ids{5, 5, 5, 5, 5, 5, 5}, 0), nullptr);
  EXPECT_EQ(cache.evicted(), 4) << "what cannot help was evicted";
  EXPECT_NE(cache.Acquire(Factors::kShort, Ids{5, 5, 5, 5, 5, 5}, 0), nullptr);
  ExpectKeys(pinned, {1, 1, 1, 1});
  EXPECT_EQ(cache.used(), 12);
}

// Random sequences over few tokens, so that most share a beginning, under a small budget.
TEST(PrefixCache, IsAMapFromPrefixesUnderRandomUse) {
  at::set_num_threads(1);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed, "prefix cache test");
    constexpr int64_t kBudget = 60;
    PrefixCache cache(kShape, kBudget);
    struct Held {
      Segment* leaf;
      Ids ids;
      int64_t extra;
    };
    std::vector<Held> held;
    std::set<Ids> ever[2];  // every prefix that was ever read
    int64_t refused = 0;
    for (int step = 0; step < 300; ++step) {
      if (!held.empty() && rng.Below(2) == 0) {
        std::swap(held[rng.Below(held.size())], held.back());
        cache.Release(held.back().leaf, held.back().extra);
        held.pop_back();
      } else {
        Ids ids(rng.Below(15));
        for (int64_t& id : ids) id = static_cast<int64_t>(rng.Below(2));
        const bool is_long = rng.Below(4) == 0, share = rng.Below(5) != 0;
        const auto factors = is_long ? Factors::kLong : Factors::kShort;
        const int64_t extra = static_cast<int64_t>(rng.Below(4));
        const int64_t held_before = cache.Match(factors, ids);
        EXPECT_TRUE(held_before == 0 ||
                    ever[is_long].count(Ids(ids.begin(), ids.begin() + held_before)));
        const int64_t used = cache.used(), evicted = cache.evicted();
        Segment* leaf = cache.Acquire(factors, ids, extra, share);
        if (!leaf) {
          ++refused;
          EXPECT_EQ(cache.used(), used);
          EXPECT_EQ(cache.evicted(), evicted);
          EXPECT_EQ(cache.Match(factors, ids), held_before);
          continue;
        }
        if (rng.Below(3) == 0 && leaf->state == Segment::State::kWaiting && leaf->size() > 1)
          cache.Split(leaf, 1 + static_cast<int64_t>(rng.Below(leaf->size() - 1)));
        EXPECT_EQ(Read(cache, leaf), share ? std::ssize(ids) - held_before : std::ssize(ids));
        held.push_back({leaf, ids, extra});
        if (share) {
          for (int64_t n = 0; n <= std::ssize(ids); ++n)
            ever[is_long].insert(Ids(ids.begin(), ids.begin() + n));
          EXPECT_EQ(cache.Match(factors, ids), std::ssize(ids));
        }
      }
      EXPECT_LE(cache.used(), kBudget);
      for (const Held& h : held) ExpectKeys(h.leaf, h.ids);
      if (HasFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    EXPECT_GT(refused, 0);
    EXPECT_GT(cache.evicted(), 0);
    for (const Held& h : held) cache.Release(h.leaf, h.extra);
    cache.Clear();
    EXPECT_EQ(cache.used(), 0);
  }
}

}  // namespace
}  // namespace whyrec::lm
