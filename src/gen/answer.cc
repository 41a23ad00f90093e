#include "src/gen/answer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "src/gen/loose_json.h"
#include "src/gen/words.h"
#include "src/text/unicode.h"

namespace whyrec::gen {
namespace {

using Keys = std::vector<std::string>;

constexpr size_t kMostObjects = 16;   // openings that are tried
constexpr size_t kLongestToken = 34;  // bytes of a special token

// What follows the thoughts; nothing when the answer was cut off while the model was thinking.
std::string_view AfterThinking(std::string_view raw) {
  constexpr std::string_view kEnd = "</think>";
  const size_t end = raw.rfind(kEnd);
  if (end != raw.npos) return raw.substr(end + kEnd.size());
  return raw.find("<think>") == raw.npos ? raw : "";
}

// The length of a special token that `text` begins with ("<|end|>", "</s>"); 0: none.
size_t SpecialToken(std::string_view text) {
  constexpr std::array kPlain{"<s>", "</s>", "<pad>", "<unk>", "<bos>", "<eos>", "<end_of_turn>"};
  for (const std::string_view token : kPlain)
    if (text.starts_with(token)) return token.size();
  if (!text.starts_with("<|")) return 0;
  text = text.substr(0, kLongestToken);
  const size_t end = text.find("|>");
  return end != text.npos && text.find_first_of(" \n") > end ? end + 2 : 0;
}

// Drops special tokens. One that follows some text ended the turn: the model then went on to write
// both sides of a conversation, which is dropped.
std::string FirstTurn(std::string_view text) {
  std::string turn;
  while (!text.empty()) {
    const size_t token = text[0] == '<' ? SpecialToken(text) : 0;
    if (token > 0 && WordCount(turn) > 0) break;
    if (token == 0) turn += text[0];
    text.remove_prefix(std::max<size_t>(token, 1));
  }
  return turn;
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

// The text, or nothing when the model answered None.
std::string OrMissing(const std::string& value) {
  const std::string text = Collapse(FirstTurn(value));  // an escape may have spelled a token
  const std::string lower = LowerCase(text);
  return lower == "none" || lower == "none." || lower == "null" ? "" : text;
}

const LooseField* FirstPresent(const std::vector<LooseField>& fields, const Keys& keys) {
  for (const std::string& key : keys)
    for (const LooseField& field : fields)
      if (LowerCase(field.key) == key) return &field;
  return nullptr;
}

// A text found in the answer, and how it was found.
struct Taken {
  std::string text, why, parse;
  bool whole = true;  // false: the answer's end may have cut it
};

std::optional<Taken> FromObject(std::string_view answer, const AnswerRules& rules) {
  std::optional<Taken> only;
  size_t at = answer.find('{');
  for (size_t tries = 0; at != answer.npos && tries < kMostObjects; ++tries) {
    const auto fields = ReadLooseObject(answer.substr(at));
    if (const LooseField* text = FirstPresent(fields, rules.keys)) {
      const LooseField* why = FirstPresent(fields, rules.why_keys);
      return Taken{OrMissing(text->value), why ? OrMissing(why->value) : "",
                   text->closed ? "json" : "fallback", text->closed};
    }
    // One field under a key of the model's own.
    if (!only && fields.size() == 1 && WordCount(fields[0].value) > 0)
      only = Taken{OrMissing(fields[0].value), "", "fallback", fields[0].closed};
    at = answer.find('{', at + 1);
  }
  return only;
}

// The position where a label's value begins ("**Summary:** ..."); 0: `line` has no label.
size_t BehindLabel(std::string_view line, const Keys& labels) {
  const std::string lower = LowerCase(line);
  const size_t start = std::min(lower.find_first_not_of(" \t*#_->{\"'"), lower.size());
  for (const std::string& label : labels) {
    if (lower.compare(start, label.size(), label) != 0) continue;
    const size_t colon =
        std::min(lower.find_first_not_of("\"'* _", start + label.size()), lower.size());
    if (colon == lower.size() || lower[colon] != ':') continue;
    return std::min(lower.find_first_not_of(" \t*_", colon + 1), lower.size());
  }
  return 0;
}

// The paragraph behind the last label.
std::optional<Taken> FromLabel(std::string_view answer, const AnswerRules& rules) {
  std::optional<Taken> taken;
  bool open = false;
  for (size_t at = 0; at < answer.size();) {
    const size_t end = std::min(answer.find('\n', at), answer.size());
    const std::string_view line = answer.substr(at, end - at);
    const bool blank = line.find_first_not_of(" \t\r") == line.npos;
    const size_t value = BehindLabel(line, rules.keys);
    if (value > 0) {
      taken = Taken{std::string(line.substr(value)), "", "fallback", false};
      open = true;
    } else if (open && !taken->text.empty() && (blank || BehindLabel(line, rules.why_keys) > 0)) {
      open = false;
      taken->whole = true;
    } else if (open) {
      taken->text.append(" ").append(line);
    }
    at = end + 1;
  }
  if (!taken) return {};
  const LooseField value = ReadLooseString(taken->text);
  taken->text = OrMissing(value.value);
  return taken;
}

Taken FromProse(std::string_view answer, const AnswerRules& rules) {
  return {OrMissing(rules.prose_words > 0 ? FirstWords(answer, rules.prose_words)
                                          : std::string(answer)),
          "", "fallback", false};
}

std::string WholeSentences(const std::string& text) {
  std::vector<std::string> sentences = Sentences(text);
  if (sentences.size() > 1 && !EndsSentence(sentences.back())) sentences.pop_back();
  std::string kept;
  for (const std::string& sentence : sentences) kept += (kept.empty() ? "" : " ") + sentence;
  return kept;
}

bool MostlyForeign(std::string_view text) {
  int64_t latin = 0, foreign = 0;
  text::ForEachCharacter(text, [&](int32_t code, std::string_view) {
    latin += (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z') ||
             (code >= 0xc0 && code < 0x250);
    foreign += code >= 0x370 && !(code >= 0x2000 && code < 0x2c00) && code < 0xfb00;
  });
  return foreign > latin;
}

ParsedAnswer Checked(Taken taken, const AnswerRules& rules, bool finished) {
  if (!finished && !taken.whole) taken.text = WholeSentences(taken.text);
  const int64_t words = WordCount(taken.text);
  const bool missing = words == 0 && rules.may_miss;
  if ((!missing && words < rules.least_words) || (!rules.cut && words > rules.most_words) ||
      (!rules.any_script && MostlyForeign(taken.text)))
    return {"", "", "failed"};
  return {CutAtSentence(taken.text, rules.most_words), std::move(taken.why),
          std::move(taken.parse)};
}

}  // namespace

AnswerRules SummaryRules(int64_t word_limit) {
  return {.keys = {"summary", "summarization", "feature", "preference", "profile"},
          .why_keys = {"why", "reasoning"},
          .most_words = word_limit,
          .cut = true,
          .may_miss = true,
          .any_script = true,
          .prose_words = 50};
}

AnswerRules ReasonRules() {
  return {
      .keys = {"rationale", "reason", "reasoning", "summary"}, .least_words = 8, .most_words = 160};
}

AnswerRules ObservationRules() {
  return {.keys = {"observation", "rationale", "reason", "reasoning", "summary"},
          .least_words = 3,
          .most_words = 160};
}

ParsedAnswer ParseAnswer(std::string_view raw, const AnswerRules& rules, bool finished) {
  const std::string valid = text::RepairUtf8(raw);
  const std::string answer = WithoutFences(FirstTurn(AfterThinking(valid)));
  if (WordCount(answer) == 0) return {"", "", "failed"};
  if (auto object = FromObject(answer, rules)) return Checked(std::move(*object), rules, finished);
  if (auto label = FromLabel(answer, rules)) return Checked(std::move(*label), rules, finished);
  return Checked(FromProse(answer, rules), rules, finished);
}

}  // namespace whyrec::gen
