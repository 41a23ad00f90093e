// Decoding of the tiny T5 against transformers' generate (tests/golden/make_t5.py, make_decode.py).
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <numeric>

#include "src/decode/beam_search.h"
#include "src/decode/sample_search.h"
#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"
#include "tests/lm/t5_golden.h"

namespace whyrec::lm {
namespace {

using Tokens = std::vector<int64_t>;
constexpr int64_t kSamples = 3;

struct DecodeGolden : T5Golden {
  store::TensorMap decode = store::ReadSafetensors(kGolden / "decode_golden.safetensors");
  at::Tensor memory = model.Encode(model.Embed(Get("ids")), Mask(), {});
};

// The network's own steps: one row per sample first, finished samples leave its cache.
decode::StepFunction Incremental(const DecodeGolden& golden) {
  auto cache = std::make_shared<T5::Cache>(golden.model.Start(golden.memory, std::nullopt));
  return
      [cache, &golden](const decode::StepInput& input) { return golden.model.Step(*cache, input); };
}

// Every row is decoded anew from its first token, so no cache can be wrong.
decode::StepFunction Anew(const DecodeGolden& golden) {
  struct State {
    at::Tensor prefixes;                      // [rows, length], the start token first
    at::Tensor batch = at::arange(kSamples);  // samples
  };
  auto state = std::make_shared<State>();
  return [state, &golden](const decode::StepInput& input) {
    if (input.kept.defined()) state->batch = state->batch.index_select(0, input.kept);
    const at::Tensor last = input.tokens.unsqueeze(1);
    state->prefixes = input.origin.defined()
                          ? at::cat({state->prefixes.index_select(0, input.origin), last}, 1)
                          : last;
    const at::Tensor memory =
        golden.memory.index_select(0, state->batch.repeat_interleave(input.width));
    return golden.model.Decode(state->prefixes, memory, std::nullopt, {}).select(1, -1);
  };
}

Tokens Stored(const HostTensor& sequences, int64_t row) {
  const auto stored = sequences.row<int64_t>(row);
  Tokens out;  // start ... EOS padding, or start ... up to the limit
  for (size_t t = 1; t < stored.size() && stored[t] != kEos; ++t) out.push_back(stored[t]);
  return out;
}

// Largest difference of the scores, as a share of its bound.
double Compare(const std::vector<std::vector<decode::Hypothesis>>& got,
               const store::TensorMap& tensors, const std::string& key) {
  const HostTensor &sequences = tensors.at(key + ".sequences"),
                   &scores = tensors.at(key + ".scores");
  const auto returned = static_cast<size_t>(sequences.dim(0) / kSamples);
  double worst = 0, largest = 0;
  for (size_t i = 0; i < static_cast<size_t>(sequences.dim(0)); ++i) {
    const auto& list = got[i / returned];
    if (list.size() != returned) {
      ADD_FAILURE() << key << ": " << list.size() << " hypotheses";
      return 1;
    }
    const decode::Hypothesis& h = list[i % returned];
    EXPECT_EQ(h.tokens, Stored(sequences, static_cast<int64_t>(i))) << key << " row " << i;
    const double want = scores.values<float>()[i];
    worst = std::max(worst, std::abs(h.score - want));
    largest = std::max(largest, std::abs(want));
  }
  const double share = worst / Fp32Bound(tensors, key + ".scores", largest);
  EXPECT_LT(share, 1) << key;
  return share;
}

TEST(DecodeGolden, BeamSearchGivesWhatGenerateGives) {
  const DecodeGolden golden;
  double worst = 0;
  for (const auto& [beams, returned, limit] :
       std::vector<std::array<int64_t, 3>>{{4, 4, 12}, {20, 10, 8}, {3, 2, 50}, {30, 20, 6}}) {
    const decode::BeamOptions options{
        .beams = beams, .returned = returned, .max_new_tokens = limit};
    for (const auto& step : {Incremental(golden), Anew(golden)}) {
      const auto got = decode::BeamSearch(step, kSamples, options);
      worst = std::max(
          worst, Compare(got, golden.tensors, Cat("beam.", beams, ".", returned, ".", limit)));
    }
  }
  std::printf("largest share of a bound: %.2g\n", worst);
}

TEST(DecodeGolden, DiverseGroupsAndLeastLengthsGiveWhatGenerateGives) {
  const DecodeGolden golden;
  struct Case {
    int64_t beams, groups, returned, limit, least;
    double diversity, penalty;
    std::string key;
  };
  const std::vector<Case> cases = {
      {21, 3, 4, 20, 9, 0, 1, "beam.21.3.0.4.20.9.1"},
      {21, 3, 21, 20, 9, 0.5, 1, "beam.21.3.0.5.21.20.9.1"},
      {21, 3, 21, 20, 0, 0.5, 1, "beam.21.3.0.5.21.20.0.1"},
      {12, 4, 12, 12, 3, 1.5, 2, "beam.12.4.1.5.12.12.3.2"},
      {6, 6, 6, 10, 0, 0.7, 0, "beam.6.6.0.7.6.10.0.0"},
      {10, 2, 10, 15, 2, 25, 1, "beam.10.2.25.10.15.2.1"},
      {8, 2, 8, 30, 0, 0.1, 1, "beam.8.2.0.1.8.30.0.1"},
      {20, 1, 10, 12, 6, 0, 1, "beam.20.1.0.10.12.6.1"},
      {5, 1, 5, 9, 4, 0, 0.5, "beam.5.1.0.5.9.4.0.5"},
      {21, 3, 1, 20, 9, 0.5, 1, "min_length"},  // min_length 10 counts the start token
  };
  double worst = 0;
  for (const Case& c : cases) {
    const decode::BeamOptions options{.beams = c.beams,
                                      .returned = c.returned,
                                      .max_new_tokens = c.limit,
                                      .length_penalty = c.penalty,
                                      .min_new_tokens = c.least,
                                      .groups = c.groups,
                                      .diversity = c.diversity};
    for (const auto& step : {Incremental(golden), Anew(golden)}) {
      worst = std::max(worst,
                       Compare(decode::BeamSearch(step, kSamples, options), golden.decode, c.key));
    }
  }
  std::printf("largest share of a bound: %.2g\n", worst);
}

TEST(DecodeGolden, GreedyGivesWhatGenerateGives) {
  const DecodeGolden golden;
  const HostTensor& sequences = golden.decode.at("greedy.sequences");
  const HostTensor& steps = golden.decode.at("greedy.log_probabilities");
  const auto got =
      decode::SampleSearch(Incremental(golden), {"a", "b", "c"}, {}, {.max_new_tokens = 25});
  const auto beams =
      decode::BeamSearch(Incremental(golden), kSamples,
                         {.beams = 1, .returned = 1, .max_new_tokens = 25, .length_penalty = 0});
  double worst = 0;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got[i].tokens, Stored(sequences, static_cast<int64_t>(i)));
    const auto stored = steps.row<float>(static_cast<int64_t>(i));
    const size_t count = got[i].tokens.size() + got[i].finished;
    const double want =
        std::accumulate(stored.begin(), stored.begin() + static_cast<int64_t>(count), 0.0);
    // A sum of `count` numbers that are rounded each.
    const auto terms = static_cast<double>(count);
    const double bound =
        terms * Fp32Bound(golden.decode, "greedy.log_probabilities", std::abs(want) / terms);
    worst = std::max(worst, std::abs(got[i].log_probability - want) / bound);
    EXPECT_EQ(got[i].finished,
              count < 25 || sequences.row<int64_t>(static_cast<int64_t>(i))[25] == kEos);
    EXPECT_EQ(got[i].tokens, beams[i][0].tokens);
    EXPECT_NEAR(got[i].log_probability, beams[i][0].score, bound);
  }
  EXPECT_LT(worst, 1);
  std::printf("largest share of a bound: %.2g\n", worst);
}

}  // namespace
}  // namespace whyrec::lm
