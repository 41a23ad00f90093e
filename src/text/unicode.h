// UTF-8 and Unicode forms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace whyrec::text {

// The first character of a text: its code point and its length in bytes. For bytes that begin no
// character the code point is -1 and the length that of the broken part (Unicode 3.9, "maximal
// subpart"); length 0 only for an empty text.
struct Character {
  int32_t code = -1;
  size_t bytes = 0;
};
Character FirstCharacter(std::string_view text);
Character LastCharacter(std::string_view text);

// The longest beginning of at most `most` bytes that ends with a whole character.
std::string_view FirstBytes(std::string_view text, size_t most);

bool IsUtf8(std::string_view text);
// U+FFFD for every broken part, as Python's errors="replace" and Rust's from_utf8_lossy do.
std::string RepairUtf8(std::string_view text);
void AppendUtf8(uint32_t code, std::string& text);  // U+FFFD for a code that is no character

// Calls `visit(code point, its bytes)`; bytes that are no UTF-8 are skipped.
template <typename Visit>
void ForEachCharacter(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const Character c = FirstCharacter(text);
    if (c.code >= 0) visit(c.code, text.substr(0, c.bytes));
    text.remove_prefix(c.bytes);
  }
}

std::string Compose(std::string_view text);    // NFC; the text is UTF-8
std::string Decompose(std::string_view text);  // NFD

}  // namespace whyrec::text
