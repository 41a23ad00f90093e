#include "src/gen/pulse_prompts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "src/base/error.h"
#include "src/gen/words.h"
#include "src/text/unicode.h"

namespace whyrec::gen {
namespace {

constexpr size_t kLongWord = 24, kBytesOfToken = 4;
// Tokens reserved for the instructions of P2 to P4 and the longest draft. The evidence gets the
// same room in all of them, so that it is the same text.
constexpr int64_t kTailTokens = 340;
constexpr const char* kPositiveSystem =
    "You explain purchases. Rely only on the evidence shown; never invent facts.";
constexpr const char* kReasonSystem = "You profile customers from evidence.";

int64_t ThirdsOfTokens(std::string_view word) {
  return word.size() <= kLongWord ? 4 : 3 * static_cast<int64_t>(word.size() / kBytesOfToken);
}

template <typename Visit>
void ForEachWord(std::string_view line,
                 Visit visit) {  // of a collapsed line, while it returns true
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end > 0 && !visit(line.substr(0, end))) return;
    line.remove_prefix(std::min(end + 1, line.size()));
  }
}

std::string FirstTokens(std::string_view line, int64_t tokens) {
  std::string kept;
  int64_t left = 3 * tokens;
  ForEachWord(line, [&](std::string_view word) {
    left -= ThirdsOfTokens(word);
    if (left >= 0) kept += (kept.empty() ? "" : " ") + std::string(word);
    return left >= 0;
  });
  if (!kept.empty() || line.empty()) return kept;
  return std::string(text::FirstBytes(line, static_cast<size_t>(tokens) * kBytesOfToken));
}

std::string Stars(float rating) {
  const auto tenths = static_cast<int64_t>(std::lround(rating * 10));
  return tenths % 10 == 0 ? Cat(tenths / 10) : Cat(tenths / 10, ".", tenths % 10);
}

std::string Title(const std::string& title) {
  const std::string line = Harmless(title);
  return line.empty() ? "(untitled)" : line;
}

std::string Line(const Event& event, int64_t review_tokens) {
  std::string line = Title(event.title);
  if (event.rating > 0) line += " | stars " + Stars(event.rating) + "/5";
  const std::string review = FirstTokens(Harmless(event.review), review_tokens);
  return review.empty() ? line : line + " | wrote: " + review;
}

// The newest events that fit into `tokens`; one stays in any case.
std::string History(const Evidence& evidence, int64_t review_tokens, int64_t tokens) {
  std::vector<std::string> lines;  // newest first
  for (auto event = evidence.history.rbegin(); event != evidence.history.rend(); ++event) {
    std::string line = Line(*event, review_tokens);
    tokens -= TokensAbout(line) + 2;  // its number
    if (tokens < 0 && !lines.empty()) break;
    lines.push_back(std::move(line));
  }
  std::string text = "Evidence, oldest first.\n";
  if (lines.empty()) text += "(none)\n";
  for (size_t i = 0; i < lines.size(); ++i)
    text += Cat(i + 1, ". ", lines[lines.size() - 1 - i], "\n");
  return text;
}

// The nearest that fit.
std::string Neighbours(const Evidence& evidence, int64_t tokens) {
  std::string text;
  for (size_t k = 0; k < evidence.neighbours.size(); ++k) {
    std::string titles;
    for (const std::string& title : evidence.neighbours[k])
      titles += (titles.empty() ? "" : "; ") + Title(title);
    if (titles.empty()) continue;
    const std::string line = Cat("neighbour ", k + 1, ": ", titles, "\n");
    tokens -= TokensAbout(line);
    if (tokens < 0) break;
    text += line;
  }
  return text.empty() ? "" : "People with similar taste also bought:\n" + text;
}

// The common beginning of P2 to P4. Neighbours take at most half of the room.
std::string Block(const Evidence& evidence, const PromptLimits& limits) {
  const int64_t room = std::max(limits.prompt_tokens - kTailTokens, limits.prompt_tokens / 4);
  const std::string neighbours = Neighbours(evidence, room / 2);
  return History(evidence, limits.review_tokens, room - TokensAbout(neighbours)) + neighbours;
}

}  // namespace

int64_t TokensAbout(std::string_view text) {
  int64_t thirds = 0;
  ForEachWord(Collapse(text), [&](std::string_view word) {
    thirds += ThirdsOfTokens(word);
    return true;
  });
  return (thirds + 2) / 3;
}

std::string Harmless(std::string_view text) {
  constexpr std::array<std::string_view, 8> kMarks{"<|",    "</s>",  "<s>",        "<pad>",
                                                   "<unk>", "<bos>", "<extra_id_", "<eos>"};
  const std::string line = Collapse(text::RepairUtf8(text));
  std::string harmless;
  for (size_t at = 0; at < line.size(); ++at) {
    harmless += line[at];
    const std::string_view rest = std::string_view(line).substr(at);
    if (std::any_of(kMarks.begin(), kMarks.end(), [&](auto m) { return rest.starts_with(m); }))
      harmless += ' ';
  }
  return harmless;
}

Prompt PositivePrompt(const Evidence& evidence, const Target& target, const PromptLimits& limits) {
  const std::string tail = Cat(
      "Then the customer chose: ", Title(target.title), "\nIn at most ", kPositiveWords,
      " words, name the lasting needs or tastes visible in the evidence and say how the choice "
      "serves them. Put the need first. Do not list the evidence again. Do not mention prices.\n"
      "Answer with one JSON line only: {\"rationale\": \"...\"}");
  const int64_t room = limits.prompt_tokens - TokensAbout(tail) - TokensAbout(kPositiveSystem);
  return {kPositiveSystem, History(evidence, limits.review_tokens, room) + tail};
}

Prompt BasePrompt(const Evidence& evidence, const PromptLimits& limits) {
  return {kReasonSystem,
          Cat(Block(evidence, limits), "In at most ", kReasonWords,
              " words, explain what this customer is likely to want next and why: recurring "
              "needs, quality and brand leanings, dislikes. Use the neighbours only where they "
              "agree with the evidence.\n"
              "Answer with one JSON line only: {\"reason\": \"...\"}")};
}

Prompt RefinePrompt(const Evidence& evidence, const std::string& draft,
                    const PromptLimits& limits) {
  return {kReasonSystem,
          Cat(Block(evidence, limits), "Draft explanation: ", Harmless(draft),
              "\nRewrite it to fit the evidence better: correct anything unsupported, make one "
              "vague point specific, add one missing motive. At most ",
              kReasonWords, " words.\nAnswer with one JSON line only: {\"reason\": \"...\"}")};
}

Prompt ChainPrompt(const Evidence& evidence, const std::string& notes, const PromptLimits& limits) {
  return {kReasonSystem,
          Cat(Block(evidence, limits), "Notes so far: ", notes.empty() ? "none" : Harmless(notes),
              "\nAdd exactly one further observation of one or two sentences. Output only that "
              "observation.")};
}

}  // namespace whyrec::gen
