// Beam search exactly as isrf 9.1, over any model that can score the next token of its beams.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "src/lm/trie.h"
#include "src/nn/at.h"

namespace whyrec::lm {

struct BeamOptions {
  int64_t beams = 20, returned = 10, max_new_tokens = 50;
  int64_t start = 0, eos = 1;
  double length_penalty = 1.0;
};

struct Hypothesis {
  std::vector<int64_t> tokens;  // without start and EOS
  double score = 0;  // sum of log probabilities / (generated tokens including EOS)^penalty
};

// tokens i64 [samples*beams], origin i64 [samples*beams] -> logits [samples*beams, V].
using StepFunction = std::function<at::Tensor(const at::Tensor& tokens, const at::Tensor& origin)>;

// Per sample the best `returned` hypotheses, best first. `tries` is empty (any token may follow) or
// holds one trie per sample; tokens outside it get probability zero (log-softmax is taken over all
// tokens first), and beams that cannot go on are dropped: fewer hypotheses than asked may come
// back. All beams but the first start at minus infinity (the published code: -1e9), so with 2 *
// beams > V no made-up beams are followed; otherwise the two agree.
std::vector<std::vector<Hypothesis>> BeamSearch(const StepFunction& step, int64_t samples,
                                                const BeamOptions& options,
                                                const std::vector<const Trie*>& tries = {});

}  // namespace whyrec::lm
