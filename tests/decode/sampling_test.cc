// Sampling against transformers' warpers (tests/golden/make_decode.py), closed forms and itself in
// other batches; the search that samples, against a toy language.
#include "src/decode/sampling.h"

#include <ATen/ops/flip.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/decode/sample_search.h"
#include "src/decode/shortlist.h"
#include "src/decode/warp.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/decode/random_logits.h"
#include "tests/decode/toy_language.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"

namespace whyrec::decode {
namespace {

std::vector<Stream> Streams(int64_t n, int64_t step = 0) {
  std::vector<Stream> out;
  for (int64_t i = 0; i < n; ++i) out.push_back({Cat("request ", i), step});
  return out;
}

TEST(Sampling, WarpedProbabilitiesAreTheReferences) {
  const auto tensors = store::ReadSafetensors(kGolden / "decode_golden.safetensors");
  const at::Tensor logits = tensor::View(tensors.at("warp.logits"));
  struct Case {
    double temperature;
    int64_t top_k;
    double top_p;
    std::string key;
  };
  double most = 0;
  for (const auto& [t, k, p, key] : std::vector<Case>{{1, 0, 0.9, "warp.1.0.0.9"},
                                                      {0.7, 0, 0.95, "warp.0.7.0.0.95"},
                                                      {1.3, 0, 0.3, "warp.1.3.0.0.3"},
                                                      {0.7, 50, 1, "warp.0.7.50.1"},
                                                      {1, 50, 0.8, "warp.1.50.0.8"},
                                                      {2.5, 20, 0.5, "warp.2.5.20.0.5"},
                                                      {0.4, 1, 1, "warp.0.4.1.1"},
                                                      {1, 0, 1e-6, "warp.1.0.1e-06"},
                                                      {0.6, 4000, 0.2, "warp.0.6.4000.0.2"},
                                                      {1, 7, 0.999, "warp.1.7.0.999"}}) {
    const auto counts = tensors.at(key + ".counts").values<int64_t>();
    const auto tokens = tensors.at(key + ".tokens").values<int32_t>();
    const auto probabilities = tensors.at(key + ".probabilities").values<float>();
    auto got = Warp(logits, {.temperature = t, .top_k = k, .top_p = p}, Normalisers(logits));
    ASSERT_EQ(got.size(), counts.size());
    size_t next = 0;
    double worst = 0;
    for (size_t row = 0; row < got.size(); ++row) {
      ASSERT_EQ(got[row].size(), static_cast<size_t>(counts[row])) << key << " row " << row;
      for (size_t i = 1; i < got[row].size(); ++i) {
        EXPECT_GE(got[row][i - 1].probability, got[row][i].probability);
      }
      // Which of equal tokens stay at top-p's edge is an unstable sort's choice in the library, so
      // tokens are compared by their logits, and by themselves above the edge.
      const float* values = logits.const_data_ptr<float>() + row * 3000;
      float edge = std::numeric_limits<float>::infinity();
      std::multiset<float> ours, theirs;
      for (size_t i = 0; i < got[row].size(); ++i) {
        ours.insert(values[got[row][i].token]);
        theirs.insert(values[tokens[next + i]]);
        edge = std::min(edge, values[got[row][i].token]);
      }
      EXPECT_EQ(ours, theirs) << key << " row " << row;
      std::set<int64_t> above, wanted;
      std::map<float, double> by_logit;
      for (size_t i = 0; i < got[row].size(); ++i, ++next) {
        const TokenProbability& choice = got[row][i];
        if (values[choice.token] > edge || p == 1) above.insert(choice.token);
        if (values[tokens[next]] > edge || p == 1) wanted.insert(tokens[next]);
        by_logit[values[tokens[next]]] = probabilities[next];
      }
      EXPECT_EQ(above, wanted) << key << " row " << row;
      for (const TokenProbability& choice : got[row]) {
        const double want = by_logit[values[choice.token]];
        worst = std::max(worst, std::abs(std::log(choice.probability / want)));
      }
    }
    // A logarithm of 1 is rounded as 1 is.
    const double share = worst / Fp32Bound(tensors, key + ".log_probabilities", 1);
    EXPECT_LT(share, 1) << key;
    most = std::max(most, share);
  }
  std::printf("largest share of a bound: %.2g\n", most);
}

// Draws of 20,000 streams against the warped probabilities: chi-square below the 0.999 quantile.
TEST(Sampling, DrawsFollowTheProbabilities) {
  const int64_t n = 20000, vocabulary = 40;
  const at::Tensor row = RandomLogits(1, vocabulary, 1.5);
  for (const Sampling& sampling :
       {Sampling{.temperature = 1, .seed = 1}, Sampling{.temperature = 0.6, .seed = 2},
        Sampling{.temperature = 1.4, .top_k = 12, .seed = 3},
        Sampling{.temperature = 1, .top_p = 0.8, .seed = 4},
        Sampling{.temperature = 2, .top_k = 30, .top_p = 0.7, .seed = 5}}) {
    std::vector<double> expected(static_cast<size_t>(vocabulary), 0.0);
    const auto warped = Warp(row, sampling, Normalisers(row));
    for (const TokenProbability& c : warped[0]) {
      expected[static_cast<size_t>(c.token)] = c.probability * static_cast<double>(n);
    }
    std::vector<double> seen(expected.size(), 0.0);
    for (int64_t step = 0; step < n / 1000; ++step) {
      const auto drawn = Draw(row.expand({1000, vocabulary}), sampling, Streams(1000, step));
      for (const Drawn& d : drawn) seen[static_cast<size_t>(d.token)] += 1;
    }
    double chi = 0, freedom = -1;
    for (size_t v = 0; v < expected.size(); ++v) {
      if (expected[v] == 0) {
        EXPECT_EQ(seen[v], 0) << v;
        continue;
      }
      chi += (seen[v] - expected[v]) * (seen[v] - expected[v]) / expected[v];
      ++freedom;
    }
    // Wilson and Hilferty's approximation of the quantile
    const double c = 2.0 / (9 * freedom),
                 limit = freedom * std::pow(1 - c + 3.09 * std::sqrt(c), 3);
    EXPECT_LT(chi, limit) << freedom << " degrees of freedom";
    EXPECT_GT(freedom, 3);
  }
}

TEST(Sampling, BatchMatesAndOrderChangeNothing) {
  const at::Tensor logits = RandomLogits(9, 5000, 2);
  for (const Sampling& sampling :
       {Sampling{}, Sampling{.temperature = 1}, Sampling{.temperature = 0.8, .top_p = 0.97},
        Sampling{.temperature = 1.5, .top_k = 40, .top_p = 0.9}}) {
    const auto together = Draw(logits, sampling, Streams(9, 4));
    const at::Tensor turned = logits.flip(0);
    auto streams = Streams(9, 4);
    std::reverse(streams.begin(), streams.end());
    const auto reversed = Draw(turned, sampling, streams);
    for (int64_t r = 0; r < 9; ++r) {
      const auto at = static_cast<size_t>(r);
      const auto alone = Draw(logits.slice(0, r, r + 1), sampling, {{Cat("request ", r), 4}});
      EXPECT_EQ(alone[0].token, together[at].token);
      EXPECT_EQ(alone[0].log_probability, together[at].log_probability);
      EXPECT_EQ(reversed[8 - at].token, together[at].token);
      EXPECT_EQ(reversed[8 - at].log_probability, together[at].log_probability);
    }
  }
  // Another name, step or seed is another draw.
  const at::Tensor same = logits.slice(0, 0, 1).expand({200, 5000});
  const auto a = Draw(same, {.temperature = 1}, Streams(200, 0));
  std::map<int64_t, int> by_name;
  for (const Drawn& d : a) ++by_name[d.token];
  EXPECT_GT(by_name.size(), 50u);
  const auto differing = [&](const std::vector<Drawn>& b) {
    int count = 0;
    for (size_t i = 0; i < a.size(); ++i) count += a[i].token != b[i].token;
    return count;
  };
  EXPECT_EQ(differing(Draw(same, {.temperature = 1}, Streams(200, 0))), 0);
  EXPECT_GT(differing(Draw(same, {.temperature = 1}, Streams(200, 1))), 150);
  EXPECT_GT(differing(Draw(same, {.temperature = 1, .seed = 1}, Streams(200, 0))), 150);
}

TEST(Sampling, GreedyAndItsLimits) {
  at::Tensor logits = RandomLogits(6, 300, 1);
  logits.select(0, 2).fill_(0);  // ties: the first
  logits[3][250] = logits[3][17] = 9;
  const auto greedy = Draw(logits, {}, Streams(6));
  EXPECT_EQ(greedy[2].token, 0);
  EXPECT_EQ(greedy[3].token, 17);
  EXPECT_NEAR(greedy[2].log_probability, -std::log(300.0), 1e-6);
  for (const Sampling& nearly :
       {Sampling{.temperature = 1, .top_k = 1}, Sampling{.temperature = 1, .top_p = 1e-9},
        Sampling{.temperature = 1, .top_p = 0}}) {
    const auto drawn = Draw(logits, nearly, Streams(6));
    for (const size_t row : {0, 1, 4, 5}) {
      EXPECT_EQ(drawn[row].token, greedy[row].token);
      EXPECT_EQ(drawn[row].log_probability, greedy[row].log_probability);
    }
  }
  for (int64_t row = 0; row < 6; ++row) {  // log probabilities in closed form
    const at::Tensor exact = logits[row].to(at::kDouble).log_softmax(0);
    const Drawn& d = greedy[static_cast<size_t>(row)];
    EXPECT_NEAR(d.log_probability, exact[d.token].item<double>(), 1e-6);
  }
  // The same numbers in half precision are the same distribution.
  const at::Tensor half = logits.to(at::kBFloat16);
  const Sampling sampling{.temperature = 0.9, .top_p = 0.9};
  const auto a = Draw(half, sampling, Streams(6)),
             b = Draw(half.to(at::kFloat), sampling, Streams(6));
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(a[i].token, b[i].token);
    EXPECT_EQ(a[i].log_probability, b[i].log_probability);
  }
}

TEST(Sampling, NaNNamesTheStream) {
  at::Tensor logits = RandomLogits(3, 30, 1);
  logits[1][29] = std::numeric_limits<float>::quiet_NaN();
  for (const Sampling& sampling : {Sampling{}, Sampling{.temperature = 1, .top_k = 5}}) {
    try {
      Draw(logits, sampling, {{"a", 0}, {"user 7, leaf 2", 3}, {"c", 0}});
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kData);
      EXPECT_NE(std::string(error.what()).find("user 7, leaf 2"), std::string::npos);
    }
  }
}

// The same tokens drawn one request and continuation at a time.
Continuation PlainSample(int64_t sample, const std::string& name, const Sampling& sampling,
                         int64_t limit) {
  Continuation out;
  while (!out.finished && std::ssize(out.tokens) < limit) {
    std::vector<float> logits;
    for (const double x : ToyLogits(sample, out.tokens)) logits.push_back(static_cast<float>(x));
    const auto drawn =
        Draw(at::tensor(logits).unsqueeze(0), sampling, {{name, std::ssize(out.tokens)}});
    const Drawn d = drawn[0];
    out.log_probability += d.log_probability;
    out.finished = d.token == kEos;
    if (!out.finished) out.tokens.push_back(d.token);
  }
  return out;
}

TEST(SampleSearch, IsEveryContinuationByItself) {
  for (const int64_t continuations : {1, 3}) {
    for (const double share : {0.0, 0.125, 2.0}) {
      const Sampling sampling{.temperature = 1.2, .top_p = 0.95, .seed = 8};
      std::vector<std::string> names;
      std::vector<int64_t> samples;
      for (int64_t i = 0; i < 10; ++i) {
        samples.push_back(i);
        for (int64_t c = 0; c < continuations; ++c) names.push_back(Cat(i, "/", c));
      }
      ToyCounts counts;
      const auto got = SampleSearch(
          ToyStep(samples, &counts), names, sampling,
          {.continuations = continuations, .max_new_tokens = 12, .compact_share = share});
      ASSERT_EQ(got.size(), names.size());
      EXPECT_EQ(counts.drops > 0, share < 1);
      bool finished = false, cut = false;
      for (size_t i = 0; i < got.size(); ++i) {
        const Continuation want =
            PlainSample(static_cast<int64_t>(i) / continuations, names[i], sampling, 12);
        EXPECT_EQ(got[i].tokens, want.tokens) << names[i];
        EXPECT_EQ(got[i].log_probability, want.log_probability);
        EXPECT_EQ(got[i].finished, want.finished);
        (got[i].finished ? finished : cut) = true;
      }
      EXPECT_TRUE(finished && cut);
    }
  }
}

}  // namespace
}  // namespace whyrec::decode
