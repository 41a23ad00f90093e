// Greedy or sampled decoding of a batch over any model that can score the next token of its rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/decode/sampling.h"
#include "src/decode/step_model.h"

namespace whyrec::decode {

struct SampleOptions {
  int64_t continuations = 1;  // per request, the width of the batch
  int64_t max_new_tokens = 50;
  int64_t start = 0, eos = 1;
  double compact_share = 0.125;  // as BeamOptions
};

struct Continuation {
  std::vector<int64_t> tokens;  // without start and EOS
  double log_probability = 0;   // sum over the tokens and EOS, at temperature 1
  bool finished = false;        // EOS came before the limit
};

// `names`: the random stream of every continuation, request by request; their number is a multiple
// of options.continuations. A continuation depends on its request and name only, not on the batch,
// as far as the network's logits do not. Errors are those of Draw.
std::vector<Continuation> SampleSearch(const StepFunction& step,
                                       const std::vector<std::string>& names,
                                       const Sampling& sampling, const SampleOptions& options);

}  // namespace whyrec::decode
