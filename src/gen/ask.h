// Asks until an answer is usable, each time with a new random stream; after the last attempt the
// text is made from the facts.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "src/gen/answer.h"
#include "src/gen/generator.h"

namespace whyrec::gen {

// What is stored of one answer (record.h).
struct Answer {
  std::string text;  // empty when missing
  std::string why;
  std::string raw;    // the last raw answer
  std::string model;  // what wrote it
  std::string prompt_sha256;
  uint64_t seed = 0;
  int64_t tokens_in = 0, tokens_out = 0;
  std::string parse;  // as ParsedAnswer; "fallback text": no usable answer, made from the facts
  double log_probability = std::numeric_limits<double>::quiet_NaN();  // sum, as Reply; of `raw`
  bool finished = true;                                               // as Reply; of `raw`
};

inline constexpr const char* kFallbackText = "fallback text";

struct Asking {
  AnswerRules rules;
  int64_t attempts = 3;                                // draws, the first one included
  std::function<TextSampling(int64_t attempt)> draws;  // by attempt
  bool raw = false;  // take the raw output as the text, as PULSE's public code does
};

// Answers in the order of the requests, which come with attempt 0. One call of the generator per
// attempt, over all requests that still need one.
std::vector<Answer> Ask(Generator& generator, const std::vector<Request>& requests,
                        const Asking& asking);

}  // namespace whyrec::gen
