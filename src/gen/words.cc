#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = text.find_first_not_of(kWhiteSpace); at != text.npos;) {
    const size_t end = std::min(text.find_first_of(kWhiteSpace, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kWhiteSpace, end);
  }
  return words;
}

}  // namespace

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

bool EndsSentence(std::string_view word) {
  const size_t last = word.find_last_not_of("\"')]");
  return last != word.npos && std::string_view(".!?").find(word[last]) != std::string_view::npos;
}

std::string FirstWords(std::string_view text, int64_t n) {
  std::string first;
  for (std::string_view word : Words(text)) {
    if (n-- <= 0) break;
    first += (first.empty() ? "" : " ") + std::string(word);
  }
  return first;
}

std::string Collapse(std::string_view text) { return FirstWords(text, INT64_MAX); }

int64_t WordCount(std::string_view text) { return std::ssize(Words(text)); }

std::vector<std::string> Sentences(std::string_view text) {
  std::vector<std::string> sentences;
  bool open = false;
  for (std::string_view word : Words(text)) {
    if (open)
      sentences.back() += " " + std::string(word);
    else
      sentences.emplace_back(word);
    open = !EndsSentence(word);
  }
  return sentences;
}

std::string CutAtSentence(std::string_view text, int64_t limit) {
  if (WordCount(text) <= limit) return Collapse(text);
  std::string kept;
  for (const auto& sentence : Sentences(text)) {
    if (WordCount(kept) + WordCount(sentence) > limit) break;
    kept += (kept.empty() ? "" : " ") + sentence;
  }
  return kept.empty() ? FirstWords(text, limit) : kept;
}

}  // namespace whyrec::gen
