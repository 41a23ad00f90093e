// Beam search with the rules of transformers 4.39 with early_stopping, which the papers' code uses,
// over any model that can score the next token of its beams. In every step the 2b best
// continuations of b beams are walked in order: one that ends in EOS is kept as a hypothesis if its
// rank is below b, others fill the next b beams. A sample is finished when it has b hypotheses.
#pragma once

#include <cstdint>
#include <vector>

#include "src/decode/step_model.h"
#include "src/decode/trie.h"

namespace whyrec::decode {

struct BeamOptions {
  int64_t beams = 20, returned = 10, max_new_tokens = 50;
  int64_t start = 0, eos = 1;
  double length_penalty = 1.0;
  // EOS is impossible as one of the first so many tokens. (The reference library's min_length
  // counts the start token as well: its 10 is 9 here.)
  int64_t min_new_tokens = 0;
  // Diverse beam search (Vijayakumar et al. 2018): `groups` searches of beams / groups beams each.
  // In every step they choose one after the other, and a token loses `diversity` (>= 0) from its
  // log probability for every beam of an earlier group that has just chosen it; a finished group
  // counts as choosing `start`. The loss stays in the scores. With diversity 0 the groups are all
  // equal: one is searched, and each of its hypotheses comes back `groups` times.
  int64_t groups = 1;
  double diversity = 0;
  // Finished samples leave the network's batch once they are this share of it (more than 1: never).
  // Until then their rows are fed `start` and not read.
  double compact_share = 0.125;
};

struct Hypothesis {
  std::vector<int64_t> tokens;  // without start and EOS
  double score = 0;      // sum of log probabilities / (generated tokens including EOS)^penalty
  bool finished = true;  // false: cut at max_new_tokens
};

// Per sample the best `returned` hypotheses, best first; of equal candidates the one of the earlier
// beam, then of the smaller token goes first. `tries` is empty (any token may follow) or holds one
// trie per sample; tokens outside it get probability zero (log-softmax is taken over all tokens
// first), and beams that cannot go on are dropped: fewer hypotheses than asked may come back. All
// beams but a group's first start at minus infinity (the published code: -1e9), so with 2 * beams /
// groups > V no made-up beams are followed; otherwise the two agree. Error(kData) when a row of
// logits has no finite normaliser.
std::vector<std::vector<Hypothesis>> BeamSearch(const StepFunction& step, int64_t samples,
                                                const BeamOptions& options,
                                                const std::vector<const Trie*>& tries = {});

}  // namespace whyrec::decode
