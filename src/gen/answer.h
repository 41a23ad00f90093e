// Parses a language model's raw answer: drops its thinking, special tokens and code fences, reads
// the first JSON object (tolerantly), and falls back to labelled text or the first words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace whyrec::gen {

struct AnswerRules {
  std::vector<std::string> keys;      // of the text, in any case; the first of them counts
  std::vector<std::string> why_keys;  // of the thoughts behind it
  int64_t least_words = 0;            // a shorter text is unusable
  int64_t most_words = 0;
  bool cut = false;         // longer texts are cut at a sentence's end; else they are unusable
  bool may_miss = false;    // "None" is an answer
  bool any_script = false;  // else text mostly in another script than the prompt's Latin one is
                            // unusable: its words cannot be counted
  int64_t prose_words = 0;  // taken from an answer without object and label; 0: all
};

AnswerRules SummaryRules(int64_t word_limit);  // ISRF
AnswerRules ReasonRules();                     // PULSE, P1 to P3: 8 to 160 words
AnswerRules ObservationRules();                // PULSE, P4: a sentence or two

struct ParsedAnswer {
  std::string text;  // one line, within the limits; empty when the model says None
  std::string why;
  std::string parse;  // "json"; "fallback": no usable object, text was taken by its label or place;
                      // "failed": nothing to use, so ask again
};

// `finished` false: the answer was cut at max_new_tokens; a text that was cut with it ends with its
// last whole sentence, if it has one. Special tokens never come through.
ParsedAnswer ParseAnswer(std::string_view raw, const AnswerRules& rules, bool finished = true);

}  // namespace whyrec::gen
