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

// The first sentence of 4 to 25 words, or "" when there is none. Sentences end at . ! ? before a
// blank.
std::string FirstSentence(std::string_view text);

}  // namespace whyrec::data
