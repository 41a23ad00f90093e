#include "src/gen/loose_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "src/text/unicode.h"

namespace whyrec::gen {
namespace {

using View = std::string_view;

constexpr View kSpace = " \t\r\n";
constexpr size_t kLongestKey = 64;

// What may open a string and the marks that may close it.
struct Quote {
  View open;
  std::vector<View> close;
};

const std::vector<Quote>& Quotes() {
  static const std::vector<Quote> quotes{
      {"\"", {"\""}},          {"'", {"'"}}, {"“", {"”", "“", "\""}}, {"”", {"”", "\""}},
      {"„", {"“", "”", "\""}}, {"«", {"»"}}, {"‘", {"’", "‘", "'"}},  {"’", {"’", "'"}},
      {"`", {"`", "'"}},
  };
  return quotes;
}

const Quote* OpenedBy(View text) {
  for (const Quote& quote : Quotes())
    if (text.starts_with(quote.open)) return &quote;
  return nullptr;
}

size_t ClosedBy(const Quote& quote, View text) {  // length of the mark; 0: none
  for (const View mark : quote.close)
    if (text.starts_with(mark)) return mark.size();
  return 0;
}

View Trimmed(View text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

View SkipSpace(View text) {
  return text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
}

// A key and its colon at the start of `text`: takes them away.
std::optional<std::string> TakeKey(View& text) {
  const Quote* quote = OpenedBy(text);
  View rest = quote ? text.substr(quote->open.size()) : text;
  const View begin = rest;
  size_t length = 0;
  for (; length < kLongestKey && length < begin.size(); ++length, rest.remove_prefix(1)) {
    if (quote ? ClosedBy(*quote, rest) > 0 : rest[0] == ':') break;
    if (rest[0] == '\n' || (!quote && View(",{}[]\"").find(rest[0]) != View::npos)) return {};
  }
  if (length == 0) return {};
  if (quote) rest.remove_prefix(std::min(ClosedBy(*quote, rest), rest.size()));
  rest = SkipSpace(rest);
  if (!rest.starts_with(':')) return {};
  text = SkipSpace(rest.substr(1));
  return std::string(Trimmed(begin.substr(0, length)));
}

// Whether what follows a mark shows that it closed a value: the object's end, or the next key.
bool EndsValue(View rest) {
  rest = SkipSpace(rest);
  if (rest.empty() || rest[0] == '}' || rest[0] == ']') return true;
  if (rest[0] != ',' && !OpenedBy(rest)) return false;
  if (rest[0] == ',') rest = SkipSpace(rest.substr(1));
  return rest.empty() || rest[0] == '}' || TakeKey(rest).has_value();
}

std::optional<int32_t> TakeHex(View& text) {
  int32_t code = 0;
  if (text.size() < 4) return {};
  for (int i = 0; i < 4; ++i) {
    const size_t digit = View("0123456789abcdef").find(static_cast<char>(std::tolower(text[i])));
    if (digit == View::npos) return {};
    code = code * 16 + static_cast<int32_t>(digit);
  }
  text.remove_prefix(4);
  return code;
}

void TakeEscape(View& text, std::string& value) {  // behind the backslash
  if (text.empty()) return;
  const char c = text[0];
  text.remove_prefix(1);
  if (c != 'u') {
    value += c == 'n' || c == 'r' ? '\n' : c == 't' || c == 'b' || c == 'f' ? ' ' : c;
    return;
  }
  auto code = TakeHex(text);
  if (code && (*code & 0xfc00) == 0xd800 && text.starts_with("\\u")) {
    View behind = text.substr(2);
    const auto low = TakeHex(behind);
    if (low && (*low & 0xfc00) == 0xdc00) {
      code = 0x10000 + ((*code & 0x3ff) << 10) + (*low & 0x3ff);
      text = behind;
    }
  }
  text::AppendUtf8(code.value_or(0xfffd), value);
}

// Takes a string away; `ends` judges the text behind a mark that could close it.
template <typename Ends>
LooseField TakeString(View& text, const Quote& quote, Ends ends) {
  LooseField field;
  text.remove_prefix(quote.open.size());
  while (!text.empty()) {
    const size_t mark = ClosedBy(quote, text);
    if (mark > 0 && ends(text.substr(mark))) {
      text.remove_prefix(mark);
      return field;
    }
    const char c = text[0];
    text.remove_prefix(1);
    if (c == '\\')
      TakeEscape(text, field.value);
    else
      field.value += c;
  }
  // A brace at the very end closes the object, though the closing quote before it is missing.
  const View kept = Trimmed(field.value);
  field.closed = kept.ends_with('}');
  if (field.closed) field.value = Trimmed(kept.substr(0, kept.size() - 1));
  return field;
}

// A list or an object, as written.
LooseField TakeNested(View& text) {
  int64_t depth = 0;
  bool quoted = false;
  size_t at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted && c == '\\') ++at;
    if (c == '"') quoted = !quoted;
    if (!quoted) depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (depth == 0) break;
  }
  const bool closed = at < text.size();
  const View taken = text.substr(0, at + 1);
  text.remove_prefix(taken.size());
  return {"", std::string(taken), closed};
}

// Up to the object's end or the next key.
LooseField TakeBare(View& text) {
  size_t at = 0;
  while (at < text.size() && text[at] != '}' && !(text[at] == ',' && EndsValue(text.substr(at))))
    ++at;
  const View taken = text.substr(0, at);
  text.remove_prefix(at);
  return {"", std::string(Trimmed(taken)), !text.empty()};
}

std::optional<std::vector<LooseField>> ReadStrict(View text) {
  nlohmann::ordered_json object;
  try {
    std::istringstream(std::string(text)) >> object;  // stops where the object ends
  } catch (const nlohmann::json::exception&) {
    return {};
  }
  std::vector<LooseField> fields;
  for (const auto& [key, value] : object.items())
    fields.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  return fields;
}

}  // namespace

std::vector<LooseField> ReadLooseObject(View text) {
  if (auto fields = ReadStrict(text)) return *fields;
  std::vector<LooseField> fields;
  text.remove_prefix(text.starts_with('{'));
  for (text = SkipSpace(text); !text.empty(); text = SkipSpace(text)) {
    const auto key = TakeKey(text);
    if (!key) break;
    const Quote* quote = OpenedBy(text);
    LooseField field = quote ? TakeString(text, *quote, EndsValue)
                       : text.starts_with('[') || text.starts_with('{') ? TakeNested(text)
                                                                        : TakeBare(text);
    field.key = *key;
    fields.push_back(std::move(field));
    text = SkipSpace(text);
    text.remove_prefix(text.starts_with(','));
  }
  return fields;
}

LooseField ReadLooseString(View text) {
  const Quote* quote = OpenedBy(text);
  if (!quote) return {"", std::string(text)};
  return TakeString(text, *quote, [](View) { return true; });
}

}  // namespace whyrec::gen
