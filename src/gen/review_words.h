// What the reviews of a history keep saying.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/gen/evidence.h"

namespace whyrec::gen {

// Lower-case words of a text: letters and inner apostrophes; no digits, no "'s".
std::vector<std::string> PlainWords(std::string_view text);
// Function words, and words that any review may hold ("great", "bought").
bool IsStopWord(std::string_view word);

// Content words of the reviews: those of most reviews first, then the most frequent (a sentence
// that comes again counts once), then the most recent. Without words that half of the titles share.
// Where reviews have none, words of titles.
std::vector<std::string> RecurringWords(const Evidence& evidence);

// Sentences of 4 to 30 words from the reviews that hold one of the first `words` of `recurring`,
// those of the first word first, newest first.
std::vector<std::string> TellingSentences(const Evidence& evidence,
                                          const std::vector<std::string>& recurring, size_t words);

}  // namespace whyrec::gen
