// Words and sentences of English text. Words are what white space separates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace whyrec::gen {

std::string Collapse(std::string_view text);   // runs of white space become one space; trimmed
std::string LowerCase(std::string_view text);  // ASCII letters only
int64_t WordCount(std::string_view text);
std::string FirstWords(std::string_view text, int64_t n);  // collapsed
bool EndsSentence(std::string_view text);  // in . ! or ?, a closing quote or bracket may follow
// Cut after words that end in . ! or ? (a closing quote or bracket may follow); the rest is the
// last.
std::vector<std::string> Sentences(std::string_view text);
// Whole sentences from the start, at most `limit` words; when not even one fits, its first words.
std::string CutAtSentence(std::string_view text, int64_t limit);

}  // namespace whyrec::gen
