// Texts of product data as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace whyrec::data {

// Appends a code point as UTF-8; U+FFFD for what is none.
void AppendUtf8(uint32_t code, std::string& out);

// Without HTML tags, common and numeric entities decoded, runs of blanks and control characters
// made one blank, trimmed.
std::string CleanText(std::string_view text);

// Whether a text of a product page is, or holds, program text of the page: what the 2018 release
// has for some titles.
bool HoldsScript(std::string_view text);

int64_t CharacterCount(std::string_view utf8);

// Lower case (ASCII), without punctuation, blanks as in CleanText: two titles that read alike.
std::string NormalisedTitle(std::string_view title);

// The first sentence of 4 to 25 words, or "" when there is none. Sentences end at . ! ? before a
// blank.
std::string FirstSentence(std::string_view text);

}  // namespace whyrec::data
