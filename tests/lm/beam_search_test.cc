// Beam search against exhaustive enumeration, a plain version of isrf 9.1, and transformers'
// generate.
#include "src/lm/beam_search.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>

#include "src/base/rng.h"
#include "src/lm/t5.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

using Tokens = std::vector<int64_t>;
constexpr int64_t kVocabulary = 12, kEos = 1;

// A toy language: the next token's logits are random numbers keyed by sample and prefix.
std::vector<double> ToyLogits(int64_t sample, const Tokens& prefix) {
  std::string key;
  for (const int64_t token : prefix) key += static_cast<char>('a' + token);
  Rng rng(5, key, static_cast<uint64_t>(sample));
  std::vector<double> out;
  for (int64_t v = 0; v < kVocabulary; ++v) out.push_back(2 * rng.Normal());
  return out;
}

std::vector<double> ToyLogProbabilities(int64_t sample, const Tokens& prefix) {
  std::vector<double> out = ToyLogits(sample, prefix);
  double sum = 0;
  for (const double x : out) sum += std::exp(x);
  for (double& x : out) x -= std::log(sum);
  return out;
}

// Keeps the prefix and sample of every row, so a wrong `origin` or `kept` gives wrong logits.
StepFunction ToyStep(int64_t samples) {
  struct State {
    std::vector<int64_t> batch;
    std::vector<Tokens> prefixes;
    std::vector<float> logits;
  };
  auto state = std::make_shared<State>();
  for (int64_t i = 0; i < samples; ++i) state->batch.push_back(i);
  return [state](const StepInput& input) {
    const int64_t rows = input.tokens.size(0);
    if (input.kept.defined()) {
      std::vector<int64_t> batch;
      for (int64_t i = 0; i < input.kept.size(0); ++i) {
        batch.push_back(
            state->batch.at(static_cast<size_t>(input.kept.const_data_ptr<int64_t>()[i])));
      }
      state->batch = batch;
    }
    EXPECT_EQ(rows, std::ssize(state->batch) * input.width);
    std::vector<Tokens> next(static_cast<size_t>(rows));
    state->logits.clear();
    for (int64_t r = 0; r < rows; ++r) {
      Tokens& prefix = next[static_cast<size_t>(r)];
      if (input.origin.defined()) {
        prefix = state->prefixes.at(static_cast<size_t>(input.origin.const_data_ptr<int64_t>()[r]));
        prefix.push_back(input.tokens.const_data_ptr<int64_t>()[r]);
      }
      const int64_t sample = state->batch[static_cast<size_t>(r / input.width)];
      for (const double x : ToyLogits(sample, prefix)) {
        state->logits.push_back(static_cast<float>(x));
      }
    }
    state->prefixes = std::move(next);
    return at::from_blob(state->logits.data(), {rows, kVocabulary}, at::kFloat);
  };
}

using Scored = std::vector<std::pair<double, Tokens>>;

void SortBest(Scored& list, size_t keep) {
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  if (list.size() > keep) list.resize(keep);
}

// Isrf 9.1 word for word, one sample, everything sorted.
Scored PlainBeamSearch(int64_t sample, const BeamOptions& options, const Trie* trie = nullptr) {
  struct Row {
    double score;
    Tokens tokens;
    int64_t node;
  };
  const auto beams = static_cast<size_t>(options.beams);
  std::vector<Row> rows = {{0, {}, Trie::kRoot}};
  Scored stored;
  for (int64_t length = 1; length <= options.max_new_tokens; ++length) {
    std::vector<Row> candidates;
    for (const Row& row : rows) {
      const auto p = ToyLogProbabilities(sample, row.tokens);
      for (int64_t v = 0; v < kVocabulary; ++v) {
        const int64_t node = trie ? trie->Child(row.node, v) : 0;
        if (node == Trie::kNone) continue;
        candidates.push_back({row.score + p[static_cast<size_t>(v)], row.tokens, node});
        candidates.back().tokens.push_back(v);
      }
    }
    std::sort(candidates.begin(), candidates.end(),
              [](const Row& a, const Row& b) { return a.score > b.score; });
    if (candidates.size() > 2 * beams) candidates.resize(2 * beams);
    rows.clear();
    for (size_t rank = 0; rank < candidates.size() && rows.size() < beams; ++rank) {
      Row& row = candidates[rank];
      if (row.tokens.back() != kEos) {
        rows.push_back(row);
      } else if (rank < beams) {
        row.tokens.pop_back();
        stored.push_back({row.score / std::pow(length, options.length_penalty), row.tokens});
      }
    }
    SortBest(stored, beams);
    if (stored.size() == beams || rows.empty()) {
      rows.clear();
      break;
    }
  }
  for (const Row& row : rows) {
    if (!trie) {
      stored.push_back(
          {row.score / std::pow(row.tokens.size(), options.length_penalty), row.tokens});
    }
  }
  SortBest(stored, beams);
  SortBest(stored, static_cast<size_t>(options.returned));
  return stored;
}

void ExpectSame(const std::vector<Hypothesis>& got, const Scored& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].tokens, want[i].second) << i;
    EXPECT_NEAR(got[i].score, want[i].first, 1e-5) << i;
  }
}

void Enumerate(int64_t sample, const Tokens& prefix, double score, int64_t limit, Scored& out) {
  const auto p = ToyLogProbabilities(sample, prefix);
  const auto length = static_cast<int64_t>(prefix.size()) + 1;
  for (int64_t v = 0; v < kVocabulary; ++v) {
    const double total = score + p[static_cast<size_t>(v)];
    Tokens longer = prefix;
    if (v != kEos) longer.push_back(v);
    if (v == kEos || length == limit) {
      out.push_back({total / static_cast<double>(length), longer});
    } else {
      Enumerate(sample, longer, total, limit, out);
    }
  }
}

TEST(BeamSearch, WideBeamsFindWhatExhaustiveEnumerationFinds) {
  const BeamOptions options{.beams = 1500, .returned = 40, .max_new_tokens = 3};
  const auto got = BeamSearch(ToyStep(2), 2, options);
  for (int64_t sample = 0; sample < 2; ++sample) {
    Scored all;
    Enumerate(sample, {}, 0, options.max_new_tokens, all);
    SortBest(all, 40);
    ExpectSame(got[static_cast<size_t>(sample)], all);
  }
}

TEST(BeamSearch, NarrowBeamsFollowThePlainVersion) {
  for (const int64_t beams : {1, 2, 3, 5, 6}) {
    for (const double penalty : {1.0, 0.0, 2.0}) {
      BeamOptions options;
      options.beams = beams;
      options.returned = std::min<int64_t>(beams, 3);
      options.max_new_tokens = 7;
      options.length_penalty = penalty;
      const auto got = BeamSearch(ToyStep(6), 6, options);
      for (int64_t sample = 0; sample < 6; ++sample) {
        ExpectSame(got[static_cast<size_t>(sample)], PlainBeamSearch(sample, options));
      }
    }
  }
}

std::set<Tokens> RandomEntries(uint64_t seed, size_t count) {
  std::set<Tokens> out;
  Rng rng(seed, "entries");
  while (out.size() < count) {
    Tokens entry;
    for (int64_t n = rng.Between(1, 5); n > 0; --n) entry.push_back(rng.Between(2, 6));
    out.insert(entry);
  }
  return out;
}

TEST(BeamSearch, TrieLimitsTheOutputAndKeepsTheNormaliser) {
  for (const int64_t beams : {2, 4, 25}) {
    std::vector<std::set<Tokens>> entries;
    std::vector<Trie> tries(3);
    std::vector<const Trie*> pointers;
    for (uint64_t i = 0; i < 3; ++i) {
      entries.push_back(RandomEntries(i, 20));
      Trie::Builder builder;
      for (const Tokens& entry : entries.back()) builder.Insert(entry);
      tries[i] = builder.Build();
      pointers.push_back(&tries[i]);
    }
    const BeamOptions options{.beams = beams, .returned = beams, .max_new_tokens = 10};
    const auto got = BeamSearch(ToyStep(3), 3, options, pointers);
    for (size_t i = 0; i < 3; ++i) {
      ExpectSame(got[i], PlainBeamSearch(static_cast<int64_t>(i), options, &tries[i]));
      for (const Hypothesis& h : got[i]) EXPECT_TRUE(entries[i].contains(h.tokens));
      if (beams < 20) continue;
      Scored all;  // every entry, scored by itself
      for (const Tokens& entry : entries[i]) {
        double score = 0;
        Tokens prefix, ended = entry;
        ended.push_back(kEos);
        for (const int64_t token : ended) {
          score += ToyLogProbabilities(static_cast<int64_t>(i), prefix)[static_cast<size_t>(token)];
          prefix.push_back(token);
        }
        all.push_back({score / static_cast<double>(ended.size()), entry});
      }
      SortBest(all, 20);
      ExpectSame(got[i], all);
    }
  }
}

TEST(BeamSearch, GivesWhatTransformersGenerateGives) {
  const std::filesystem::path golden = std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden";
  auto tensors = store::ReadSafetensors(golden / "t5_golden.safetensors");
  at::set_num_threads(1);  // operators this small only lose by a second thread
  nn::Parameters parameters;
  T5 model(LoadT5Config(golden / "t5"), parameters);
  model.Load(golden / "t5");
  const at::Tensor ids = tensor::View(tensors.at("ids"));
  const at::Tensor mask = tensor::View(tensors.at("mask")).to(at::kBool);
  const at::Tensor memory = model.Encode(model.Embed(ids), mask, false);
  int compared = 0;
  for (const auto& [beams, returned, limit] :
       std::vector<std::array<int64_t, 3>>{{4, 4, 12}, {20, 10, 8}, {3, 2, 50}, {30, 20, 6}}) {
    const std::string key = Cat("beam.", beams, ".", returned, ".", limit);
    const HostTensor sequences = tensors.at(key + ".sequences");
    const HostTensor scores = tensors.at(key + ".scores");
    T5::Cache cache = model.Start(memory, std::nullopt);
    const auto got = BeamSearch([&](const StepInput& input) { return model.Step(cache, input); }, 3,
                                {.beams = beams, .returned = returned, .max_new_tokens = limit});
    for (int64_t row = 0; row < sequences.dim(0); ++row, ++compared) {
      const auto& h = got[static_cast<size_t>(row / returned)][static_cast<size_t>(row % returned)];
      const auto stored = sequences.row<int64_t>(row);
      Tokens want;  // start ... EOS padding, or start ... up to the limit
      for (size_t t = 1; t < stored.size() && stored[t] != kEos; ++t) want.push_back(stored[t]);
      EXPECT_EQ(h.tokens, want) << key << " row " << row;
      EXPECT_NEAR(h.score, scores.values<float>()[static_cast<size_t>(row)], 1e-5);
    }
  }
  EXPECT_EQ(compared, 3 * (4 + 10 + 2 + 20));
}

}  // namespace
}  // namespace whyrec::lm
