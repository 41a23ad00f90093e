// Shortlists, normalisers and tries against sorting, double precision and sets.
#include "src/decode/shortlist.h"

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>

#include "src/base/rng.h"
#include "src/decode/trie.h"
#include "tests/decode/random_logits.h"

namespace whyrec::decode {
namespace {

TEST(Normalisers, AreThoseOfDoublePrecision) {
  at::set_num_threads(1);
  double worst = 0;
  for (const int64_t vocabulary : {1, 3, 4, 7, 300, 5000}) {
    for (const double scale : {0.01, 1.0, 30.0}) {
      for (const double temperature : {1.0, 0.3, 2.5}) {
        at::Tensor logits = RandomLogits(5, vocabulary, scale);
        if (vocabulary > 7) logits.slice(1, 2, 7).fill_(kNever);
        for (const at::Tensor& given : {logits, logits.to(at::kBFloat16), logits.to(at::kDouble)}) {
          const auto got = Normalisers(given, temperature);
          const at::Tensor exact = (given.to(at::kDouble) / temperature).logsumexp({1});
          for (int64_t r = 0; r < 5; ++r) {
            const double want = exact[r].item<double>();
            worst = std::max(worst, std::abs(got[static_cast<size_t>(r)] - want) /
                                        std::max(1.0, std::abs(want)));
          }
        }
      }
    }
  }
  EXPECT_LT(worst, 1e-6);
  std::printf("largest difference: %.2g\n", worst);
  at::Tensor bad = RandomLogits(3, 50, 1);
  bad[0][49] = bad[1][3] = std::numeric_limits<float>::quiet_NaN();
  bad[2].fill_(kNever);
  for (const double x : Normalisers(bad)) EXPECT_FALSE(std::isfinite(x));
}

// Both ways, against a full sort; coarse values make ties.
TEST(Shortlist, HoldsTheBestAndTheirTies) {
  for (const bool coarse : {false, true}) {
    at::Tensor logits = RandomLogits(6, 2000, 2);
    if (coarse) logits = (logits * 4).round() / 4;
    logits[1].fill_(0.25);
    logits[2].slice(0, 10).fill_(kNever);
    logits[5].copy_(logits[5].clone().msort());  // rising: every block raises the bound
    const std::vector<float> added = {0, -1, -2, kNever, -4, -5};
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor given = logits.to(type);
      for (const int64_t k : {1, 5, 40, 5000}) {
        const Shortlist a = TopTokens(given, k, added);
        const Shortlist b = TopTokensByOperators(given, k, added, {});
        EXPECT_EQ(a.first, b.first);
        EXPECT_EQ(a.tokens, b.tokens);
        EXPECT_EQ(a.logits, b.logits);
        for (int64_t r = 0; r < 6; ++r) {
          const auto at = static_cast<size_t>(r);
          std::vector<float> row(2000);
          for (int64_t v = 0; v < 2000; ++v) {
            row[static_cast<size_t>(v)] =
                given.to(at::kFloat).const_data_ptr<float>()[r * 2000 + v];
          }
          std::vector<float> sorted = row;
          std::sort(sorted.rbegin(), sorted.rend());
          const float kth = sorted[static_cast<size_t>(std::min<int64_t>(k, 2000) - 1)];
          std::set<int64_t> want;
          for (size_t v = 0; v < row.size() && r != 3; ++v) {
            if (row[v] >= kth && row[v] > kNever) want.insert(static_cast<int64_t>(v));
          }
          const std::set<int64_t> got(a.tokens.begin() + static_cast<int64_t>(a.first[at]),
                                      a.tokens.begin() + static_cast<int64_t>(a.first[at + 1]));
          EXPECT_EQ(got.size(), a.first[at + 1] - a.first[at]);
          EXPECT_TRUE(std::includes(got.begin(), got.end(), want.begin(), want.end()));
          EXPECT_LE(got.size(), want.size() + 2) << r;  // hardly more than asked
        }
      }
    }
  }
}

// What 30 beams of a user cost with T5's vocabulary, against normalising everything and topk.
TEST(Shortlist, DISABLED_Time) {
  at::set_num_threads(1);
  const at::Tensor logits = RandomLogits(30, 32128, 3);
  const std::vector<float> added(30, -3.0F);
  const auto time = [](const char* name, const auto& work) {
    double best = 1e9;
    for (int i = 0; i < 20; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      work();
      best = std::min(
          best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    std::printf("%s: %.2f ms\n", name, 1e3 * best);
  };
  time("shortlist of 60", [&] { TopTokens(logits, 60, added); });
  const at::Tensor half = logits.to(at::kBFloat16);
  time("shortlist of 60, bf16", [&] { TopTokens(half, 60, added); });
  time("normalisers only", [&] { Normalisers(logits); });
  time("log_softmax and topk", [&] {
    at::topk(logits.log_softmax(1).add_(-3).view({1, -1}), 60, 1);
  });
}

void Spell(const Trie& trie, int64_t node, std::vector<int64_t>& prefix,
           std::set<std::vector<int64_t>>& out) {
  for (const int64_t token : trie.Allowed(node)) {
    prefix.push_back(token);
    const int64_t child = trie.Child(node, token);
    ASSERT_NE(child, Trie::kNone);
    if (trie.Allowed(child).empty()) out.insert(prefix);
    Spell(trie, child, prefix, out);
    prefix.pop_back();
  }
}

TEST(Trie, SpellsWhatWasInserted) {
  Rng rng(6, "trie");
  for (const size_t count : {size_t{0}, size_t{1}, size_t{50}, size_t{800}}) {
    Trie::Builder builder;
    std::set<std::vector<int64_t>> want;
    for (size_t i = 0; i < count; ++i) {
      std::vector<int64_t> entry;
      for (int64_t n = rng.Between(0, 6); n > 0; --n) entry.push_back(rng.Between(2, 9));
      builder.Insert(entry);
      entry.push_back(1);
      want.insert(entry);
    }
    const Trie trie = builder.Build();
    std::set<std::vector<int64_t>> got;
    std::vector<int64_t> prefix;
    Spell(trie, Trie::kRoot, prefix, got);
    EXPECT_EQ(got, want);
    EXPECT_EQ(trie.Child(Trie::kRoot, 77), Trie::kNone);
    EXPECT_TRUE(std::is_sorted(trie.Allowed(0).begin(), trie.Allowed(0).end()));
  }
  EXPECT_TRUE(Trie().Allowed(Trie::kRoot).empty());
}

}  // namespace
}  // namespace whyrec::decode
