// The generation engine against plain greedy decoding that reads the whole sequence at every step,
// and against itself under other orders, budgets and batch mates.
#include "src/lm/text_engine.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {
namespace {

using Ids = std::vector<int64_t>;
using Outputs = std::vector<EngineOutput>;

PhiConfig TinyConfig() {
  PhiConfig config;
  config.vocabulary = 512;
  config.width = 64;
  config.inner = 128;
  config.layers = 2;
  config.heads = 4;
  config.key_heads = 2;
  config.positions = 1024;
  config.original_positions = 512;
  config.bos = config.pad = 511;
  config.eos = {511};
  for (int64_t id = 5; id < 500; id += 30) config.eos.push_back(id);  // texts should end
  return config;
}

struct Tiny {
  explicit Tiny(at::ScalarType dtype = at::kFloat, const PhiConfig& config = TinyConfig())
      : parameters(dtype), model(config, parameters) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Initialise(7);
    // Weights of N(0, 0.02) say the same token for ever; these give varied texts that end.
    const c10::NoGradGuard no_grad;
    for (const auto& [path, parameter] : parameters.all()) {
      if (parameter.dim() == 2) parameter.mul_(8);
    }
  }
  Outputs Run(const EngineOptions& options, const std::vector<EngineRequest>& requests,
              const decode::Sampling& sampling = {}) {
    TextEngine engine(model, options);
    Outputs outputs = RunOn(engine, requests, sampling);
    counts = engine.counts();
    return outputs;
  }
  static Outputs RunOn(TextEngine& engine, const std::vector<EngineRequest>& requests,
                       const decode::Sampling& sampling = {}) {
    Outputs outputs(requests.size());
    std::vector<int> done(requests.size());
    engine.Run(requests, sampling, [&](size_t i, EngineOutput output) {
      outputs[i] = std::move(output);
      ++done[i];
    });
    EXPECT_EQ(done, std::vector<int>(requests.size(), 1));
    return outputs;
  }

  nn::Parameters parameters;
  Phi model;
  EngineCounts counts;
};

// No cache, no batch: the whole sequence again for every token.
EngineOutput PlainGreedy(const Phi& model, const EngineRequest& request) {
  const c10::NoGradGuard no_grad;
  const PhiConfig& config = model.config();
  Ids ids = request.ids;
  const int64_t total = std::ssize(ids) + request.max_new_tokens;
  EngineOutput output;
  for (int64_t step = 0; step < request.max_new_tokens; ++step) {
    const int64_t n = std::ssize(ids);
    const at::Tensor hidden =
        model.Hidden(at::tensor(ids), at::arange(n), CausalAttention({n}), total);
    const at::Tensor logits = model.Logits(hidden.narrow(0, n - 1, 1)).to(at::kDouble)[0];
    const int64_t token = logits.argmax().item<int64_t>();
    output.log_probability += (logits[token] - logits.logsumexp(0)).item<double>();
    output.finished = std::count(config.eos.begin(), config.eos.end(), token) > 0;
    if (output.finished) break;
    output.ids.push_back(token);
    ids.push_back(token);
  }
  return output;
}

Ids RandomIds(Rng& rng, int64_t count) {
  Ids ids(static_cast<size_t>(count));
  for (int64_t& id : ids) id = rng.Between(10, 500);
  return ids;
}

Ids Join(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The prompts of a full tree of thoughts with three branches and depth two: block + end of P2, 3
// times block + P3(r0), and 3 times block + P3(r) for each of three drafts r (P2, P3: see
// src/gen/pulse_prompts.h). Names within a group all differ.
struct ThoughtTree {
  ThoughtTree(uint64_t user, int64_t block_tokens, int64_t own_tokens, int64_t new_tokens) {
    Rng rng(user, "tree");
    const Ids block = RandomIds(rng, block_tokens);
    const auto add = [&](int level, int copies) {
      // Ends differ at their first token, so that the closed form of the costs is exact.
      const Ids end = Join({static_cast<int64_t>(501 + prompts++)}, RandomIds(rng, own_tokens - 1));
      for (int i = 0; i < copies; ++i) {
        requests.push_back({Cat("u", user, ".", level, ".", requests.size()), Join(block, end),
                            Cat("u", user), new_tokens});
      }
    };
    add(0, 1);
    add(1, 3);
    for (int parent = 0; parent < 3; ++parent) add(2, 3);
  }
  std::vector<EngineRequest> requests;
  int prompts = 0;
};

std::vector<EngineRequest> Forest(int users, int64_t new_tokens = 12) {
  std::vector<EngineRequest> all;
  for (int user = 0; user < users; ++user) {
    const ThoughtTree tree(static_cast<uint64_t>(user), 30 + 7 * user, 5 + user, new_tokens);
    all.insert(all.end(), tree.requests.begin(), tree.requests.end());
  }
  return all;
}

int64_t Differing(const Outputs& a, const Outputs& b) {
  int64_t differing = 0;
  for (size_t i = 0; i < a.size(); ++i)
    differing += a[i].ids != b[i].ids || a[i].finished != b[i].finished;
  return differing;
}

double LargestGap(const Outputs& a, const Outputs& b) {
  double gap = 0;
  for (size_t i = 0; i < a.size(); ++i)
    gap = std::max(gap, std::abs(a[i].log_probability - b[i].log_probability));
  return gap;
}

Outputs Plain(const Phi& model, const std::vector<EngineRequest>& requests) {
  Outputs outputs;
  std::map<Ids, EngineOutput> known;  // greedy: equal prompts, equal texts
  for (const EngineRequest& request : requests) {
    auto found = known.find(request.ids);
    if (found == known.end()) found = known.emplace(request.ids, PlainGreedy(model, request)).first;
    outputs.push_back(found->second);
  }
  return outputs;
}

constexpr EngineOptions kShared{};
constexpr EngineOptions kUnshared{.share_prefixes = false};

TEST(TextEngine, GreedyTextsArePlainDecodings) {
  Tiny tiny;
  const auto requests = Forest(12);  // 156 requests, 60 prompts
  const Outputs want = Plain(tiny.model, requests);
  int64_t finished = 0;
  std::set<Ids> texts;
  for (const EngineOutput& output : want) {
    finished += output.finished;
    texts.insert(output.ids);
  }
  EXPECT_GT(finished, 5) << "no text ends: the end token is not tested";
  EXPECT_LT(finished, 150);
  EXPECT_GT(texts.size(), 50u) << "texts hardly differ: nothing is tested";
  for (const EngineOptions& options :
       {kShared, kUnshared, EngineOptions{.max_rows = 1}, EngineOptions{.prefill_tokens = 16},
        EngineOptions{.deterministic = true}}) {
    const Outputs got = tiny.Run(options, requests);
    EXPECT_EQ(Differing(got, want), 0);
    EXPECT_LT(LargestGap(got, want), 1e-3);  // twelve tokens, each off by some 1e-5 in fp32
  }
  std::printf("%lld of %zu texts end; log probabilities differ by at most %.3g\n",
              static_cast<long long>(finished), want.size(),
              LargestGap(tiny.Run(kShared, requests), want));
}

// Random weights leave the best two tokens close, so that rounding alone changes texts: the plain
// decoding in bf16 is no nearer to fp32 with the same weights than the engine is.
TEST(TextEngine, HalfPrecisionTextsMostlyAgree) {
  Tiny half(at::kBFloat16), exact;
  {
    const c10::NoGradGuard no_grad;
    for (const auto& [path, parameter] : half.parameters.all())
      exact.parameters.Get(path).copy_(parameter);
  }
  std::vector<EngineRequest> requests;
  std::set<Ids> seen;
  for (const EngineRequest& request : Forest(12))
    if (seen.insert(request.ids).second) requests.push_back(request);
  const Outputs shared = half.Run(kShared, requests), alone = half.Run(kUnshared, requests);
  const Outputs plain = Plain(half.model, requests), want = exact.Run(kShared, requests);
  const auto share = [&](const Outputs& a, const Outputs& b) {
    return 1 - static_cast<double>(Differing(a, b)) / static_cast<double>(requests.size());
  };
  std::printf(
      "bf16, %zu prompts: shared = unshared %.4f, = plain %.4f; = fp32 %.4f, plain = fp32 "
      "%.4f\n",
      requests.size(), share(shared, alone), share(shared, plain), share(shared, want),
      share(plain, want));
  EXPECT_GE(share(shared, alone), 0.995);
  EXPECT_GE(share(shared, want), share(plain, want) - 0.1);
}

// What prefix sharing promises: a tree reads its block once and each distinct prompt's own part
// once.
TEST(TextEngine, ATreeCostsItsBlockOnceAndItsOwnParts) {
  Tiny tiny;
  constexpr int64_t kBlock = 60, kOwn = 9, kNew = 6;
  const ThoughtTree tree(1, kBlock, kOwn, kNew);
  ASSERT_EQ(tree.requests.size(), 13u);
  ASSERT_EQ(tree.prompts, 5);
  tiny.Run(kShared, tree.requests);
  // The last token of each prompt is read by its samples as they draw.
  EXPECT_EQ(tiny.counts.prefilled_tokens, kBlock + 5 * (kOwn - 1));
  EXPECT_EQ(tiny.counts.prompt_tokens, 13 * (kBlock + kOwn));
  EXPECT_EQ(tiny.counts.evicted_tokens, 0);
  const EngineCounts together = tiny.counts;
  EXPECT_LE(together.steps, kNew);  // all in one pass, which draws the first tokens already
  const Outputs outputs = tiny.Run(kUnshared, tree.requests);
  EXPECT_EQ(tiny.counts.prefilled_tokens, 13 * (kBlock + kOwn - 1));
  int64_t drawn = 0;
  for (const EngineOutput& output : outputs) drawn += std::ssize(output.ids) + output.finished;
  EXPECT_EQ(tiny.counts.decoded_tokens, drawn);
  EXPECT_EQ(together.decoded_tokens, drawn);

  // Level by level, as drafts come in: the block stays from call to call.
  TextEngine engine(tiny.model, kShared);
  const auto& all = tree.requests;
  for (const auto& [begin, end] : {std::pair{0, 1}, {1, 4}, {4, 13}})
    Tiny::RunOn(engine, {all.begin() + begin, all.begin() + end});
  EXPECT_EQ(engine.counts().prefilled_tokens, kBlock + 5 * (kOwn - 1));
  Tiny::RunOn(engine, all);
  EXPECT_EQ(engine.counts().prefilled_tokens, kBlock + 5 * (kOwn - 1));
}

TEST(TextEngine, SmallBudgetsWaitAndEvictButChangeNoText) {
  Tiny tiny;
  const auto requests = Forest(5);
  const Outputs want = tiny.Run(kShared, requests);
  const int64_t free = tiny.counts.prefilled_tokens;
  EXPECT_EQ(tiny.counts.evicted_tokens, 0);
  for (const int64_t budget : {78, 150, 300}) {  // the largest prompt and its output need 78
    const Outputs got = tiny.Run({.cache_tokens = budget, .prefill_tokens = 40}, requests);
    EXPECT_EQ(Differing(got, want), 0) << budget;
    EXPECT_GT(tiny.counts.evicted_tokens, 0);
    EXPECT_GE(tiny.counts.prefilled_tokens, free);
    EXPECT_LT(tiny.counts.prefilled_tokens, 2 * free);  // neighbours still share
  }
  const Outputs got =
      tiny.Run({.cache_tokens = 78, .max_rows = 3, .share_prefixes = false}, requests);
  EXPECT_EQ(Differing(got, want), 0);
}

// Prompts that share beginnings of any length, are prefixes of each other or equal; different
// limits; tiny passes.
TEST(TextEngine, RandomRequestsAgreeWithAndWithoutSharing) {
  Tiny tiny;
  Rng rng(3, "random requests");
  std::vector<EngineRequest> requests;
  for (int i = 0; i < 300; ++i) {
    Ids ids;
    if (i > 0 && rng.Below(4) != 0) {
      const Ids& other = requests[rng.Below(requests.size())].ids;
      ids.assign(other.begin(), other.begin() + rng.Between(0, std::ssize(other)));
    }
    if (ids.empty() || rng.Below(8) != 0) ids = Join(ids, RandomIds(rng, rng.Between(1, 25)));
    requests.push_back({Cat("r", i), ids, Cat("g", i % 7), rng.Between(1, 10)});
  }
  const Outputs want = tiny.Run(kUnshared, requests);
  const int64_t unshared = tiny.counts.prefilled_tokens;
  for (const EngineOptions& options :
       {kShared, EngineOptions{.cache_tokens = 300, .max_rows = 20, .prefill_tokens = 7},
        EngineOptions{.cache_tokens = 400, .prefill_tokens = 64, .deterministic = true}}) {
    EXPECT_EQ(Differing(tiny.Run(options, requests), want), 0);
    EXPECT_LT(tiny.counts.prefilled_tokens, unshared);
  }
  std::vector<EngineRequest> some(requests.begin(), requests.begin() + 40);
  EXPECT_EQ(Differing(tiny.Run(kShared, some), Plain(tiny.model, some)), 0);
}

// Texts by name, under another order and with strangers in the run.
TEST(TextEngine, DeterministicTextsDependOnTheirGroupOnly) {
  Tiny tiny;
  const decode::Sampling sampling{.temperature = 0.9, .seed = 11};
  const auto forest = Forest(12, 20);
  for (const bool deterministic : {true, false}) {
    const EngineOptions options{.prefill_tokens = 64, .deterministic = deterministic};
    const Outputs want = tiny.Run(options, forest, sampling);
    int64_t compared = 0, equal = 0, bits = 0;
    const auto compare = [&](std::vector<EngineRequest> requests, TextEngine& engine) {
      std::map<std::string, size_t> place;
      for (size_t i = 0; i < forest.size(); ++i) place[forest[i].name] = i;
      const Outputs got = Tiny::RunOn(engine, requests, sampling);
      for (size_t i = 0; i < requests.size(); ++i) {
        const auto found = place.find(requests[i].name);
        if (found == place.end()) continue;
        const EngineOutput& other = want[found->second];
        ++compared;
        equal += got[i].ids == other.ids;
        bits += got[i].ids == other.ids && got[i].log_probability == other.log_probability;
      }
    };
    auto shuffled = forest;
    Rng(1, "order").Shuffle(shuffled);
    TextEngine engine(tiny.model, options);
    compare(shuffled, engine);
    compare({forest.begin() + 26, forest.begin() + 39}, engine);  // one user, cache full of others
    auto mixed = forest;
    for (const EngineRequest& request : Forest(20, 15)) {
      mixed.push_back(request);
      mixed.back().name += "x";
      mixed.back().group += "x";
    }
    Rng(2, "order").Shuffle(mixed);
    compare(mixed, engine);
    std::printf("deterministic %d: %lld of %lld texts equal, %lld to the last bit\n", deterministic,
                static_cast<long long>(equal), static_cast<long long>(compared),
                static_cast<long long>(bits));
    EXPECT_GT(compared, 300);
    if (deterministic) {
      EXPECT_EQ(bits, compared);
    } else {
      EXPECT_GE(static_cast<double>(equal), 0.99 * static_cast<double>(compared));
    }
  }
}

// Sequences on both sides of original_positions: never in one pass, never one cache chain.
TEST(TextEngine, LongSequencesUseLongFactorsApart) {
  PhiConfig config = TinyConfig();
  config.original_positions = 64;
  config.short_factor.assign(static_cast<size_t>(config.rotary() / 2), 1.0);
  config.long_factor.assign(config.short_factor.size(), 1.0);
  for (size_t i = 0; i < config.long_factor.size(); ++i)
    config.long_factor[i] = 2 + static_cast<double>(i);
  Tiny tiny(at::kFloat, config);
  std::vector<EngineRequest> requests;
  for (uint64_t user = 0; user < 4; ++user) {
    Rng rng(user, "long");
    const Ids block = RandomIds(rng, 50);
    for (int64_t own : {1, 4, 5, 30, 60})  // 10 new tokens: 54 + 10 is the last short one
      requests.push_back({Cat(user, ".", own), Join(block, RandomIds(rng, own)), "", 10});
    requests.push_back({Cat(user, ".block"), block, "", 10});
  }
  const Outputs want = Plain(tiny.model, requests);
  for (const EngineOptions& options :
       {kShared, kUnshared, EngineOptions{.deterministic = true}, EngineOptions{.max_rows = 4}})
    EXPECT_EQ(Differing(tiny.Run(options, requests), want), 0);
}

TEST(TextEngine, StopsBetweenStepsAndGoesOnLater) {
  Tiny tiny;
  const auto requests = Forest(6);
  const Outputs want = tiny.Run(kShared, requests);
  TextEngine engine(tiny.model, {.max_rows = 10, .prefill_tokens = 50});
  std::set<size_t> done;
  int asked = 0;
  engine.Run(
      requests, {},
      [&](size_t i, EngineOutput output) {
        EXPECT_EQ(output.ids, want[i].ids);
        done.insert(i);
      },
      [&] { return ++asked > 30; });
  EXPECT_EQ(asked, 31);
  EXPECT_EQ(engine.counts().steps, 30);
  EXPECT_GT(done.size(), 0u);
  EXPECT_LT(done.size(), requests.size());
  EXPECT_EQ(Differing(Tiny::RunOn(engine, requests), want), 0);
  // A callback that throws leaves the engine usable as well.
  EXPECT_THROW(
      engine.Run(requests, {}, [](size_t, EngineOutput) { throw std::runtime_error("full"); }),
      std::runtime_error);
  EXPECT_EQ(Differing(Tiny::RunOn(engine, requests), want), 0);
}

TEST(TextEngine, NamesTheRequestThatCannotRun) {
  Tiny tiny;
  const auto expect = [&](EngineRequest bad, const std::string& part, EngineOptions options = {}) {
    TextEngine engine(tiny.model, options);
    try {
      engine.Run({{"good", {1, 2, 3}, "", 4}, std::move(bad)}, {},
                 [](size_t, EngineOutput) { ADD_FAILURE() << "something ran"; });
      ADD_FAILURE() << "no error: " << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kData);
      EXPECT_NE(std::string(e.what()).find("request 1 (bad): " + part), std::string::npos)
          << e.what();
    }
    EXPECT_EQ(engine.counts().steps, 0);
  };
  expect({"bad", {}, "", 4}, "the prompt is empty");
  expect({"bad", {1, 512}, "", 4}, "token 512 is outside the vocabulary of 512");
  expect({"bad", {1, -1}, "", 4}, "token -1 is outside the vocabulary of 512");
  expect({"bad", Ids(1021, 1), "", 4}, "1021 prompt tokens and 4 new ones exceed the context of");
  expect({"bad", {1}, "", 0}, "max_new_tokens is 0");
  expect({"bad", Ids(60, 1), "", 8}, "needs keys and values of 67 tokens; the cache holds 66",
         {.cache_tokens = 66});
  EXPECT_EQ(tiny.Run({}, {{"edge", Ids(1020, 1), "", 4}})[0].ids.size() > 0, true);
  EXPECT_TRUE(tiny.Run({}, {}).empty());
}

}  // namespace
}  // namespace whyrec::lm
