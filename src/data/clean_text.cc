#include "src/data/clean_text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "src/text/unicode.h"

namespace whyrec::data {
namespace {

using Entity = std::pair<std::string_view, uint32_t>;
constexpr Entity kEntities[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},        {"quot", '"'},     {"apos", '\''},
    {"nbsp", ' '},     {"ndash", 0x2013}, {"mdash", 0x2014},  {"lsquo", 0x2018}, {"rsquo", 0x2019},
    {"ldquo", 0x201c}, {"rdquo", 0x201d}, {"hellip", 0x2026}, {"bull", 0x2022},  {"trade", 0x2122},
    {"reg", 0xae},     {"copy", 0xa9},    {"deg", 0xb0},      {"frac12", 0xbd},  {"eacute", 0xe9},
};

// Code point of an entity's name ("amp", "#39", "#x27"), 0 when unknown.
uint32_t EntityCode(std::string_view name) {
  if (name.starts_with('#')) {
    const bool hex = name.size() > 1 && (name[1] == 'x' || name[1] == 'X');
    name.remove_prefix(hex ? 2 : 1);
    uint32_t code = 0;
    const auto [end, error] =
        std::from_chars(name.data(), name.data() + name.size(), code, hex ? 16 : 10);
    return error == std::errc() && end == name.data() + name.size() ? code : 0;
  }
  const auto found = std::ranges::find(kEntities, name, &Entity::first);
  return found == std::end(kEntities) ? 0 : found->second;
}

// Length of the tag that starts at text[0] == '<', or 0: "<3" and "a < b" are no tags.
size_t TagLength(std::string_view text) {
  if (text.size() < 3 ||
      !(std::isalpha(static_cast<unsigned char>(text[1])) || text[1] == '/' || text[1] == '!'))
    return 0;
  const size_t end = text.find('>');
  return end == std::string_view::npos ? 0 : end + 1;
}

bool IsBlank(char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; }

std::string OneBlankEach(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (!IsBlank(c))
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string CleanText(std::string_view text) {
  constexpr size_t kLongestEntity = 10;
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '<') {
      if (const size_t tag = TagLength(text.substr(i))) {
        out += ' ';
        i += tag;
        continue;
      }
    } else if (text[i] == '&') {
      const size_t end = text.substr(i, kLongestEntity).find(';');
      const uint32_t code =
          end == std::string_view::npos ? 0 : EntityCode(text.substr(i + 1, end - 1));
      if (code != 0) {
        text::AppendUtf8(code == 0xa0 ? ' ' : code, out);
        i += end + 1;
        continue;
      }
    }
    out += text[i++];
  }
  return OneBlankEach(out);
}

bool HoldsScript(std::string_view text) {
  constexpr std::string_view kMarks[] = {
      "<script",      "</script",       "<style",      "gettime",   "function()",     "function ()",
      "document.get", "document.write", "javascript:", "{display:", "window.location"};
  std::string lower;
  for (char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::ranges::any_of(
      kMarks, [&](std::string_view mark) { return lower.find(mark) != std::string::npos; });
}

int64_t CharacterCount(std::string_view utf8) {
  return std::ranges::count_if(utf8, [](char c) { return (c & 0xc0) != 0x80; });
}

std::string NormalisedTitle(std::string_view title) {
  std::string out;
  for (char c : title) {
    const auto byte = static_cast<unsigned char>(c);
    if (!std::ispunct(byte)) out += static_cast<char>(std::tolower(byte));
  }
  return OneBlankEach(out);
}

std::string FirstSentence(std::string_view text) {
  constexpr int kFewest = 4, kMost = 25;
  const std::string clean = OneBlankEach(text);
  size_t begin = 0;
  int words = 1;
  for (size_t i = 0; i < clean.size(); ++i) {
    const bool last = i + 1 == clean.size();
    const bool stop = std::string_view(".!?").find(clean[i]) != std::string_view::npos;
    if (last || (stop && clean[i + 1] == ' ')) {
      if (words >= kFewest && words <= kMost) return clean.substr(begin, i + 1 - begin);
      begin = i + 2;
      words = 1;
      ++i;
    } else if (clean[i] == ' ') {
      ++words;
    }
  }
  return "";
}

}  // namespace whyrec::data
