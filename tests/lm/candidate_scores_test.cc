// Exact scores of candidates against one decode per candidate, and against beam search with beams
// enough.
#include "src/lm/candidate_scores.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "src/base/rng.h"
#include "tests/lm/t5_golden.h"

namespace whyrec::lm {
namespace {

// `count` different numbers of one to four of the tokens 2..`tokens`, as id pieces are: prefixes
// are shared, and some are numbers themselves.
Candidates Draw(uint64_t seed, size_t count, int64_t tokens) {
  std::set<std::vector<int64_t>> out;
  Rng rng(seed, "candidates");
  while (out.size() < count) {
    std::vector<int64_t> one;
    for (int64_t n = rng.Between(1, 4); n > 0; --n) one.push_back(rng.Between(2, tokens));
    out.insert(one);
  }
  return {out.begin(), out.end()};
}

std::vector<Candidates> Drawn(int64_t tokens) {
  return {Draw(1, 30, tokens), Draw(2, 1, tokens), Draw(3, 12, tokens)};
}

// log p of the tokens and EOS from one whole decode.
double ScoreAlone(const T5Golden& golden, int64_t sample, const at::Tensor& memory,
                  std::vector<int64_t> tokens, const CandidateOptions& options) {
  std::vector<int64_t> inputs = tokens, outputs = tokens;
  inputs.insert(inputs.begin(), 0);
  outputs.push_back(kEos);
  at::Tensor read = at::tensor(inputs);
  if (!options.pieces.empty()) read = at::tensor(options.pieces).index_select(0, read);
  at::Tensor logits = golden.model
                          .Decode(read.unsqueeze(0), memory.narrow(0, sample, 1),
                                  golden.Mask().narrow(0, sample, 1), {})
                          .squeeze(0);
  if (!options.pieces.empty()) {
    logits = logits.index_select(1, at::tensor(options.pieces));
    logits.select(1, 0).fill_(-std::numeric_limits<float>::infinity());
  }
  const at::Tensor p = at::log_softmax(logits.to(at::kDouble), 1);
  double score = 0;
  for (size_t i = 0; i < outputs.size(); ++i)
    score += p[static_cast<int64_t>(i)][outputs[i]].item<double>();
  return score;
}

// Each of the tokens and EOS adds a logit and a normaliser, which is as far off as the logits.
double ScoreBound(const T5Golden& golden, size_t tokens) {
  const double largest = golden.Get("masked.logits").abs().max().item<double>();
  return 2 * static_cast<double>(tokens + 1) * std::max(1.0, largest) * golden.LogitBound();
}

TEST(CandidateScores, EqualOneDecodePerCandidate) {
  const c10::NoGradGuard no_grad;
  for (const char* form : {"t5", "t5_v11"}) {
    for (const std::vector<int64_t>& pieces :
         {std::vector<int64_t>{}, std::vector<int64_t>{0, 1, 63, 40, 5, 33, 8}}) {
      const T5Golden golden(form);
      const at::Tensor memory = golden.Memory();
      const CandidateOptions options{.pieces = pieces};
      const auto candidates = Drawn(6);
      const auto scores = CandidateScores(golden.model, memory, golden.Mask(), candidates, options);
      for (size_t b = 0; b < candidates.size(); ++b) {
        ASSERT_EQ(scores[b].size(), candidates[b].size());
        for (size_t c = 0; c < candidates[b].size(); ++c)
          EXPECT_NEAR(
              scores[b][c],
              ScoreAlone(golden, static_cast<int64_t>(b), memory, candidates[b][c], options),
              ScoreBound(golden, candidates[b][c].size()));
      }
    }
  }
}

TEST(CandidateScores, RankingIsThatOfBeamSearchWithBeamsEnough) {
  const c10::NoGradGuard no_grad;
  const auto candidates = Drawn(6);
  std::vector<decode::Trie> tries(3);
  std::vector<const decode::Trie*> pointers;
  for (size_t b = 0; b < 3; ++b) {
    decode::Trie::Builder builder;
    for (const auto& candidate : candidates[b]) builder.Insert(candidate);
    tries[b] = builder.Build();
    pointers.push_back(&tries[b]);
  }
  for (const double penalty : {0.0, 1.0}) {
    const T5Golden golden;
    T5::Cache cache = golden.model.Start(golden.Memory(), std::nullopt);
    const auto found = decode::BeamSearch(
        [&](const decode::StepInput& input) { return golden.model.Step(cache, input); }, 3,
        {.beams = 31, .returned = 30, .length_penalty = penalty}, pointers);
    const auto ranked = RankCandidates(golden.model, golden.Memory(), std::nullopt, candidates,
                                       {.length_penalty = penalty});
    for (size_t b = 0; b < 3; ++b) {
      ASSERT_EQ(found[b].size(), ranked[b].size());
      for (size_t i = 0; i < ranked[b].size(); ++i) {
        EXPECT_EQ(ranked[b][i].tokens, found[b][i].tokens) << b << " " << i;
        EXPECT_NEAR(ranked[b][i].score, found[b][i].score,
                    ScoreBound(golden, ranked[b][i].tokens.size()));
      }
    }
  }
}

TEST(CandidateScores, PrefixesAreReadOnce) {
  const CandidateTree merged = MergePrefixes({{2, 3}, {2}, {2, 3, 4}, {5}}, {});
  EXPECT_EQ(merged.tree.tokens, (std::vector<int64_t>{0, 2, 3, 4, 5}));
  EXPECT_EQ(merged.tree.parents, (std::vector<int64_t>{-1, 0, 1, 2, 0}));
  EXPECT_EQ(merged.paths,
            (std::vector<std::vector<int64_t>>{{0, 1, 2}, {0, 1}, {0, 1, 2, 3}, {0, 4}}));
}

}  // namespace
}  // namespace whyrec::lm
