// A toy language for tests of decoding: the next token's logits are random numbers keyed by sample
// and prefix.
#pragma once

#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "src/base/rng.h"
#include "src/decode/step_model.h"

namespace whyrec::decode {

using Tokens = std::vector<int64_t>;
constexpr int64_t kVocabulary = 12, kEos = 1;

inline std::vector<double> ToyLogits(int64_t sample, const Tokens& prefix) {
  std::string key;
  for (const int64_t token : prefix) key += static_cast<char>('a' + token);
  Rng rng(5, key, static_cast<uint64_t>(sample));
  std::vector<double> out;
  for (int64_t v = 0; v < kVocabulary; ++v) out.push_back(2 * rng.Normal());
  return out;
}

inline std::vector<double> ToyLogProbabilities(int64_t sample, const Tokens& prefix) {
  std::vector<double> out = ToyLogits(sample, prefix);
  double sum = 0;
  for (const double x : out) sum += std::exp(x);
  for (double& x : out) x -= std::log(sum);
  return out;
}

struct ToyCounts {
  int64_t steps = 0, rows = 0, drops = 0;
};

// Keeps the prefix and sample of every row, so a wrong `origin` or `kept` gives wrong logits.
// `samples`: the keys of the samples of the batch.
inline StepFunction ToyStep(std::vector<int64_t> samples, ToyCounts* counts = nullptr) {
  struct State {
    std::vector<int64_t> batch;
    std::vector<Tokens> prefixes;
    std::vector<float> logits;
  };
  auto state = std::make_shared<State>();
  state->batch = std::move(samples);
  return [state, counts](const StepInput& input) {
    const int64_t rows = input.tokens.size(0);
    const auto at = [](const at::Tensor& t, int64_t i) { return t.const_data_ptr<int64_t>()[i]; };
    if (input.kept.defined()) {
      std::vector<int64_t> batch;
      for (int64_t i = 0; i < input.kept.size(0); ++i) {
        batch.push_back(state->batch.at(static_cast<size_t>(at(input.kept, i))));
      }
      state->batch = batch;
    }
    if (counts) {
      *counts = {counts->steps + 1, counts->rows + rows, counts->drops + input.kept.defined()};
    }
    EXPECT_EQ(rows, std::ssize(state->batch) * input.width);
    std::vector<Tokens> next(static_cast<size_t>(rows));
    state->logits.clear();
    for (int64_t r = 0; r < rows; ++r) {
      Tokens& prefix = next[static_cast<size_t>(r)];
      if (input.origin.defined()) {
        prefix = state->prefixes.at(static_cast<size_t>(at(input.origin, r)));
        prefix.push_back(at(input.tokens, r));
      } else {
        EXPECT_EQ(input.width, 1);
      }
      for (const double x : ToyLogits(state->batch[static_cast<size_t>(r / input.width)], prefix)) {
        state->logits.push_back(static_cast<float>(x));
      }
    }
    state->prefixes = std::move(next);
    return at::from_blob(state->logits.data(), {rows, kVocabulary}, at::kFloat);
  };
}

inline StepFunction ToyStep(int64_t samples) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < samples; ++i) all.push_back(i);
  return ToyStep(all);
}

}  // namespace whyrec::decode
