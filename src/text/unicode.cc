#include "src/text/unicode.h"

#include <utf8proc.h>

#include <cstdlib>

#include "src/base/error.h"

namespace whyrec::text {
namespace {

std::string Normalise(std::string_view text, utf8proc_option_t form) {
  utf8proc_uint8_t* out = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &out,
                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  WR_CHECK(n >= 0, utf8proc_errmsg(n));
  std::string normal(reinterpret_cast<char*>(out), static_cast<size_t>(n));
  std::free(out);
  return normal;
}

}  // namespace

Character FirstCharacter(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xc2 || first > 0xf4) return {-1, 1};
  const size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // The second byte keeps out overlong forms, surrogates and what lies above U+10FFFF.
  uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  int32_t code = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i, low = 0x80, high = 0xbf) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {-1, i};
    code = (code << 6) | (byte(i) & 0x3f);
  }
  return {code, length};
}

Character LastCharacter(std::string_view text) {
  for (size_t n = 1; n <= 4 && n <= text.size(); ++n) {
    const Character c = FirstCharacter(text.substr(text.size() - n));
    if (c.code >= 0 && c.bytes == n) return c;
  }
  return {-1, text.empty() ? size_t{0} : size_t{1}};
}

std::string_view FirstBytes(std::string_view text, size_t most) {
  size_t size = 0;
  while (size < text.size()) {
    const size_t next = FirstCharacter(text.substr(size)).bytes;
    if (size + next > most) break;
    size += next;
  }
  return text.substr(0, size);
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Character c = FirstCharacter(text);
    if (c.code < 0) return false;
    text.remove_prefix(c.bytes);
  }
  return true;
}

std::string RepairUtf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Character c = FirstCharacter(text);
    out += c.code < 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
  }
  return out;
}

void AppendUtf8(uint32_t code, std::string& text) {
  const bool surrogate = (code & ~0x7ffU) == 0xd800;
  if (surrogate || code > 0x10ffff) code = 0xfffd;
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<char*>(bytes), static_cast<size_t>(n));
}

std::string Compose(std::string_view text) { return Normalise(text, UTF8PROC_COMPOSE); }
std::string Decompose(std::string_view text) { return Normalise(text, UTF8PROC_DECOMPOSE); }

}  // namespace whyrec::text
