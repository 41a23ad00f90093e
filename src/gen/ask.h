// Asks until an answer is of use: draws with new random streams, then text made of the facts.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "src/gen/answer.h"
#include "src/gen/generator.h"

namespace whyrec::gen {

// One record of isrf 7.3 (6).
struct Answer {
  std::string text;  // empty when missing
  std::string why;
  std::string raw;    // the last raw answer
  std::string model;  // what wrote it
  std::string prompt_sha256;
  uint64_t seed = 0;
  int64_t tokens_in = 0, tokens_out = 0;
  std::string parse;  // as ParsedAnswer; "fallback text": no answer was of use, made of the facts
  double log_probability = std::numeric_limits<double>::quiet_NaN();  // sum, as Reply; of `raw`
  bool finished = true;  // as Reply; of `raw`
};

inline constexpr const char* kFallbackText = "fallback text";

struct Asking {
  AnswerRules rules;
  int64_t attempts = 3;                            // draws, the first one included
  std::function<Sampling(int64_t attempt)> draws;  // by attempt
  bool raw = false;  // the raw output is the text, whatever it says (pulse 5.2, public code)
};

// Answers in the order of the requests, which come with attempt 0. One call of the generator per
// attempt, over all requests that still need one.
std::vector<Answer> Ask(Generator& generator, const std::vector<Request>& requests,
                        const Asking& asking);

}  // namespace whyrec::gen
