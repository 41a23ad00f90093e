#include "src/gen/answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

constexpr const char* kSummaryKeys[] = {"summary", "summarization", "feature", "preference",
                                        "profile"};
constexpr const char* kWhyKeys[] = {"why", "reasoning"};
constexpr int64_t kFallbackWords = 50;

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

// Nothing when the model was cut off while it was thinking.
std::string_view AfterThinking(std::string_view raw) {
  constexpr std::string_view kEnd = "</think>";
  const size_t end = raw.rfind(kEnd);
  if (end != raw.npos) return raw.substr(end + kEnd.size());
  return raw.find("<think>") == raw.npos ? raw : "";
}

// Drops ``` and the language word behind it.
std::string WithoutFences(std::string_view text) {
  std::string plain;
  for (size_t at = text.find("```"); at != text.npos; at = text.find("```")) {
    plain += text.substr(0, at);
    text.remove_prefix(at + 3);
    const auto word = std::find_if_not(text.begin(), text.end(),
                                       [](unsigned char c) { return std::isalnum(c) != 0; });
    const size_t length = word - text.begin();
    if (length == text.size() || text[length] == '\n' || text[length] == '\r')
      text.remove_prefix(length);
  }
  return plain.append(text);
}

// Walks over JSON-like text; `visit(place, inside a string)` sees every character but quotes and
// escaped ones, and returns false to stop.
template <typename Visit>
void Walk(std::string_view text, Visit visit) {
  bool quoted = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') {
      quoted = !quoted;
    } else if (quoted && text[at] == '\\') {
      ++at;
    } else if (!visit(at, quoted)) {
      return;
    }
  }
}

std::string_view FirstObject(std::string_view text) {
  text.remove_prefix(std::min(text.find('{'), text.size()));
  int depth = 0;
  size_t length = 0;
  Walk(text, [&](size_t at, bool quoted) {
    if (!quoted) depth += (text[at] == '{') - (text[at] == '}');
    if (depth == 0) length = at + 1;
    return depth > 0;
  });
  return text.substr(0, length);
}

// Without trailing commas, and with line ends and tabs in strings escaped.
std::string Repaired(std::string_view object) {
  std::string text(object);
  std::vector<size_t> faults;
  Walk(object, [&](size_t at, bool quoted) {
    const size_t next = object.find_first_not_of(" \t\r\n", at + 1);
    const bool closes = next != object.npos && (object[next] == '}' || object[next] == ']');
    if (quoted ? object.find_first_of("\n\r\t", at) == at : object[at] == ',' && closes)
      faults.push_back(at);
    return true;
  });
  for (auto at = faults.rbegin(); at != faults.rend(); ++at) {
    const char c = text[*at];
    text.replace(*at, 1, c == ',' ? "" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
  }
  return text;
}

nlohmann::json ParseObject(std::string_view object) {
  auto json = nlohmann::json::parse(object, nullptr, false);
  return json.is_discarded() ? nlohmann::json::parse(Repaired(object), nullptr, false) : json;
}

template <size_t n>
const nlohmann::json* FirstPresent(const nlohmann::json& object, const char* const (&keys)[n]) {
  for (const char* key : keys)
    if (object.contains(key)) return &object[key];
  return nullptr;
}

std::string TextOf(const nlohmann::json* value) {
  if (value == nullptr || value->is_null()) return "";
  const std::string text = Collapse(value->is_string() ? value->get<std::string>() : value->dump());
  const std::string lower = LowerCase(text);
  return lower == "none" || lower == "none." || lower == "null" ? "" : text;
}

// The value behind `label`'s last occurrence: a quoted string, or the rest of the line.
std::string_view AfterLabel(std::string_view answer, const std::string& lower, const char* label,
                            size_t& place) {
  for (size_t at = lower.rfind(label); at != lower.npos; at = lower.rfind(label, at - 1)) {
    const size_t colon = lower.find_first_not_of("\"'* ", at + std::string_view(label).size());
    if (colon != lower.npos && lower[colon] == ':') {
      place = at;
      const size_t start = std::min(lower.find_first_not_of("* ", colon + 1), lower.size());
      const bool quoted = start < lower.size() && lower[start] == '"';
      std::string_view value = answer.substr(start + quoted);
      size_t end = quoted ? value.find('"') : value.find('\n');
      while (quoted && end != value.npos && end > 0 && value[end - 1] == '\\')
        end = value.find('"', end + 1);
      return value.substr(0, end);
    }
    if (at == 0) break;
  }
  return "";
}

std::string Fallback(std::string_view answer) {
  const std::string lower = LowerCase(answer);
  std::string_view best;
  size_t best_place = 0;
  for (const char* label : kSummaryKeys) {
    size_t place = 0;
    const auto value = AfterLabel(answer, lower, label, place);
    if (value.empty() || place < best_place) continue;
    best = value;
    best_place = place;
  }
  if (best.empty()) return FirstWords(answer, kFallbackWords);
  const auto unescaped = nlohmann::json::parse(Cat("\"", best, "\""), nullptr, false);
  return unescaped.is_string() ? unescaped.get<std::string>() : std::string(best);
}

}  // namespace

ParsedAnswer ParseAnswer(std::string_view raw, int64_t word_limit) {
  const std::string answer = WithoutFences(AfterThinking(raw));
  if (WordCount(answer) == 0) return {"", "", "failed"};
  const auto object = ParseObject(FirstObject(answer));
  if (object.is_object())
    if (const auto* summary = FirstPresent(object, kSummaryKeys))
      return {CutAtSentence(TextOf(summary), word_limit), TextOf(FirstPresent(object, kWhyKeys)),
              "json"};
  const nlohmann::json taken = Fallback(answer);
  return {CutAtSentence(TextOf(&taken), word_limit), "", "fallback"};
}

}  // namespace whyrec::gen
