// Beam search exactly as isrf 9.1, over any model that can score the next token of its beams.
#pragma once

#include <cstdint>
#include <vector>

#include "src/lm/step_model.h"
#include "src/lm/trie.h"

namespace whyrec::lm {

struct BeamOptions {
  int64_t beams = 20, returned = 10, max_new_tokens = 50;
  int64_t start = 0, eos = 1;
  double length_penalty = 1.0;
  // Finished samples leave the network's batch once they are this share of it (more than 1: never).
  // Until then their rows are fed `start` and not read.
  double compact_share = 0.125;
};

struct Hypothesis {
  std::vector<int64_t> tokens;  // without start and EOS
  double score = 0;  // sum of log probabilities / (generated tokens including EOS)^penalty
};

// Per sample the best `returned` hypotheses, best first. `tries` is empty (any token may follow) or
// holds one trie per sample; tokens outside it get probability zero (log-softmax is taken over all
// tokens first), and beams that cannot go on are dropped: fewer hypotheses than asked may come
// back. All beams but the first start at minus infinity (the published code: -1e9), so with 2 *
// beams > V no made-up beams are followed; otherwise the two agree.
std::vector<std::vector<Hypothesis>> BeamSearch(const StepFunction& step, int64_t samples,
                                                const BeamOptions& options,
                                                const std::vector<const Trie*>& tries = {});

}  // namespace whyrec::lm
