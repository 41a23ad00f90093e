// Cleaning of product texts: HTML, entities, white space, script text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace whyrec::data {

// Without HTML tags, common and numeric entities decoded, runs of blanks and control characters
// made one blank, trimmed.
std::string CleanText(std::string_view text);

// Whether a text is or contains script code of the product page, as some titles of the 2018 release
// do.
bool HoldsScript(std::string_view text);

int64_t CharacterCount(std::string_view utf8);

// Lower case (ASCII), without punctuation, blanks as in CleanText. Titles count as the same if this
// is equal.
std::string NormalisedTitle(std::string_view title);

// The first sentence of 4 to 25 words, or "" when there is none. Sentences end at . ! ? before a
// blank.
std::string FirstSentence(std::string_view text);

}  // namespace whyrec::data
