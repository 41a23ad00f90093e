// What a language model's raw answer says (isrf 7.3, rules 1 to 5).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace whyrec::gen {

struct ParsedAnswer {
  std::string text;  // the summary, within the word limit; empty when the model says None
  std::string why;
  std::string parse;  // "json"; "fallback": no usable object, text was taken by its label or place;
                      // "failed": nothing to use, so ask again
};

ParsedAnswer ParseAnswer(std::string_view raw, int64_t word_limit);

}  // namespace whyrec::gen
