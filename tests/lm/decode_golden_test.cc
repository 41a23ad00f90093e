// Decoding of the tiny T5 against transformers' generate (tests/golden/make_t5.py, make_decode.py).
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <numeric>

#include "src/lm/beam_search.h"
#include "src/lm/sample_search.h"
#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

using Tokens = std::vector<int64_t>;
constexpr int64_t kEos = 1, kSamples = 3;
const std::filesystem::path kGolden = std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden";

struct Golden {
  Golden()
      : t5(store::ReadSafetensors(kGolden / "t5_golden.safetensors")),
        decode(store::ReadSafetensors(kGolden / "decode_golden.safetensors")),
        model(LoadT5Config(kGolden / "t5"), parameters) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Load(kGolden / "t5");
    const at::Tensor mask = tensor::View(t5.at("mask")).to(at::kBool);
    memory = model.Encode(model.Embed(tensor::View(t5.at("ids"))), mask, false);
  }
  store::TensorMap t5, decode;
  nn::Parameters parameters;
  T5 model;
  at::Tensor memory;
};

// A network that computes every sample at full width from the first step to the last, so that
// searching with one row first and with samples leaving is held against not doing so.
StepFunction FullWidth(const Golden& golden, int64_t width) {
  struct State {
    T5::Cache cache;
    std::vector<int64_t> batch = {0, 1, 2};
    int64_t last_width = 1;
  };
  auto state = std::make_shared<State>();
  state->cache = golden.model.Start(golden.memory, std::nullopt, width);
  return [state, width, &golden](const StepInput& input) {
    const std::vector<int64_t> before = state->batch;
    if (input.kept.defined()) {
      state->batch.clear();
      for (int64_t i = 0; i < input.kept.size(0); ++i) {
        state->batch.push_back(before[static_cast<size_t>(input.kept[i].item<int64_t>())]);
      }
    }
    at::Tensor tokens = at::zeros({kSamples * width}, at::kLong);
    at::Tensor origin = at::arange(kSamples * width),
               read = at::zeros({input.tokens.size(0)}, at::kLong);
    for (int64_t r = 0; r < input.tokens.size(0); ++r) {
      const int64_t row =
          state->batch[static_cast<size_t>(r / input.width)] * width + r % input.width;
      read[r] = row;
      if (!input.origin.defined()) continue;
      tokens[row] = input.tokens[r];
      const int64_t from = input.origin[r].item<int64_t>();
      origin[row] =
          before[static_cast<size_t>(from / state->last_width)] * width + from % state->last_width;
    }
    state->last_width = input.width;
    return golden.model.Step(state->cache, tokens, origin).index_select(0, read);
  };
}

Tokens Stored(const HostTensor& sequences, int64_t row) {
  const auto stored = sequences.row<int64_t>(row);
  Tokens out;  // start ... EOS padding, or start ... up to the limit
  for (size_t t = 1; t < stored.size() && stored[t] != kEos; ++t) out.push_back(stored[t]);
  return out;
}

// Largest difference of the scores.
double Compare(const std::vector<std::vector<Hypothesis>>& got, const store::TensorMap& tensors,
               const std::string& key) {
  const HostTensor &sequences = tensors.at(key + ".sequences"),
                   &scores = tensors.at(key + ".scores");
  const auto returned = static_cast<size_t>(sequences.dim(0) / kSamples);
  double worst = 0;
  for (size_t i = 0; i < static_cast<size_t>(sequences.dim(0)); ++i) {
    const auto& list = got[i / returned];
    if (list.size() != returned) {
      ADD_FAILURE() << key << ": " << list.size() << " hypotheses";
      return 1;
    }
    const Hypothesis& h = list[i % returned];
    EXPECT_EQ(h.tokens, Stored(sequences, static_cast<int64_t>(i))) << key << " row " << i;
    worst = std::max(worst, std::abs(h.score - scores.values<float>()[i]));
  }
  EXPECT_LT(worst, 1e-5) << key;
  return worst;
}

TEST(DecodeGolden, BeamSearchGivesWhatGenerateGives) {
  const Golden golden;
  double worst = 0;
  for (const auto& [beams, returned, limit] :
       std::vector<std::array<int64_t, 3>>{{4, 4, 12}, {20, 10, 8}, {3, 2, 50}, {30, 20, 6}}) {
    const auto got = BeamSearch(FullWidth(golden, beams), kSamples,
                                {.beams = beams, .returned = returned, .max_new_tokens = limit});
    worst =
        std::max(worst, Compare(got, golden.t5, Cat("beam.", beams, ".", returned, ".", limit)));
  }
  std::printf("largest difference of a score: %.2g\n", worst);
}

TEST(DecodeGolden, DiverseGroupsAndLeastLengthsGiveWhatGenerateGives) {
  const Golden golden;
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
    const BeamOptions options{.beams = c.beams,
                              .returned = c.returned,
                              .max_new_tokens = c.limit,
                              .length_penalty = c.penalty,
                              .min_new_tokens = c.least,
                              .groups = c.groups,
                              .diversity = c.diversity};
    const int64_t width = c.diversity == 0 ? c.beams / c.groups : c.beams;
    const auto got = BeamSearch(FullWidth(golden, width), kSamples, options);
    worst = std::max(worst, Compare(got, golden.decode, c.key));
  }
  std::printf("largest difference of a score: %.2g\n", worst);
}

TEST(DecodeGolden, GreedyGivesWhatGenerateGives) {
  const Golden golden;
  const HostTensor& sequences = golden.decode.at("greedy.sequences");
  const HostTensor& steps = golden.decode.at("greedy.log_probabilities");
  const auto got = SampleSearch(FullWidth(golden, 1), {"a", "b", "c"}, {}, {.max_new_tokens = 25});
  const auto beams =
      BeamSearch(FullWidth(golden, 1), kSamples,
                 {.beams = 1, .returned = 1, .max_new_tokens = 25, .length_penalty = 0});
  double worst = 0;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got[i].tokens, Stored(sequences, static_cast<int64_t>(i)));
    const auto stored = steps.row<float>(static_cast<int64_t>(i));
    const size_t count = got[i].tokens.size() + got[i].finished;
    const double want =
        std::accumulate(stored.begin(), stored.begin() + static_cast<int64_t>(count), 0.0);
    worst = std::max(worst, std::abs(got[i].log_probability - want));
    EXPECT_EQ(got[i].finished,
              count < 25 || sequences.row<int64_t>(static_cast<int64_t>(i))[25] == kEos);
    EXPECT_EQ(got[i].tokens, beams[i][0].tokens);
    EXPECT_NEAR(got[i].log_probability, beams[i][0].score, 1e-4);  // summed in float
  }
  EXPECT_LT(worst, 1e-5);
  std::printf("largest difference of a log probability: %.2g\n", worst);
}

}  // namespace
}  // namespace whyrec::lm
