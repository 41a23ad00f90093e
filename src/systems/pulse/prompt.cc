#include "src/systems/pulse/prompt.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "src/base/error.h"
#include "src/text/chat.h"

namespace whyrec::systems {
namespace {

using Ids = std::vector<int64_t>;

using config::ScorerConfig;

void Append(Ids& to, const Ids& more) { to.insert(to.end(), more.begin(), more.end()); }

Ids Joined(std::initializer_list<std::reference_wrapper<const Ids>> parts) {
  Ids all;
  for (const Ids& part : parts) Append(all, part);
  return all;
}

void Cut(Ids& ids, int64_t most) {
  if (std::ssize(ids) > most) ids.resize(static_cast<size_t>(std::max<int64_t>(most, 0)));
}

// Texts come from users of the shop: special tokens and line breaks in them lose their meaning.
std::string Harmless(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  if (text::SpellsSpecialToken(text))
    for (size_t at = 0; (at = text.find("<|", at)) != text.npos; at += 3) text.insert(at + 1, " ");
  return text;
}

}  // namespace

int64_t ScorerPrompt::longest_path() const {
  int64_t longest = 0;
  for (const auto& branch : branches) longest = std::max<int64_t>(longest, std::ssize(branch));
  return std::ssize(prefix) + longest;
}

int64_t ScorerPrompt::tokens() const {
  int64_t all = std::ssize(prefix);
  for (const auto& branch : branches) all += std::ssize(branch);
  return all;
}

ScorerPrompts::ScorerPrompts(const data::TrainView& train, const config::RunConfig& config,
                             const text::Tokenizer& tokenizer)
    : train_(train),
      config_(config),
      scorer_(config.pulse().scorer()),
      tokenizer_(tokenizer),
      user_(tokenizer.Id("<|user|>")),
      end_(tokenizer.Id("<|end|>")),
      assistant_(tokenizer.Id("<|assistant|>")),
      titles_(train.items.size()) {
  const auto end_of_text = tokenizer.Id("<|endoftext|>");
  if (!end_of_text)
    Fail(Exit::kData, "the scorer's tokenizer has no <|endoftext|>; give that of Phi-4-mini");
  end_of_text_ = *end_of_text;
  if (!user_ || !end_ || !assistant_) user_ = end_ = assistant_ = std::nullopt;
  bought_ = Encode("Bought before:");
  separator_ = Encode(";");
  why_ = Encode("\nWhy this customer buys:");
  ask_ = Encode("\nIs this the next purchase?\n");
  item_ = Encode("Item:");
  candidates_ = Encode("\nOne of:");
  next_ = Encode("\nNext purchase:");
  which_ = Encode("\nWhich is the next purchase?");
  list_ = Encode("\nWhich is the next purchase?\n");
  option_ = Encode("\nOption");
  colon_ = Encode(":");
  answer_ = Encode("Answer:");
  for (char letter = 'A'; letter <= 'Z'; ++letter) {
    const Ids ids = Encode({' ', letter});
    if (ids.size() > 1) break;
    Append(letters_, ids);
  }
}

Ids ScorerPrompts::Encode(const std::string& text) const { return tokenizer_.Encode(text); }

std::string ScorerPrompts::Title(int64_t item) const {
  const data::Item& of = train_.items.at(static_cast<size_t>(item));
  if (!of.title.empty()) return of.title;
  if (config_.protocol() == config::RunConfig::AS_PUBLISHED) return "No Title";
  std::string made = of.brand;
  if (!of.categories.empty()) made += (made.empty() ? "" : " ") + of.categories.back();
  return made.empty() ? "untitled" : made;
}

// With a leading space, as after "Item:" and ";", so that a title has the same tokens everywhere.
const Ids& ScorerPrompts::TitleIds(int64_t item) const {
  Ids& ids = titles_.at(static_cast<size_t>(item));
  if (ids.empty()) {
    ids = Encode(" " + Harmless(Title(item)));
    Cut(ids, scorer_.title_tokens());
    WR_CHECK(!ids.empty(), "item row ", item, " has no title tokens");
  }
  return ids;
}

Ids ScorerPrompts::ReasonIds(const gen::ChosenReason* reason) const {
  if (!reason || reason->text.empty()) return {};
  Ids ids = why_;
  if (scorer_.include_score()) {
    char agreement[40];
    std::snprintf(agreement, sizeof agreement, " (agreement %.2f)", reason->score);
    Append(ids, Encode(agreement));
  }
  Ids text = Encode(" " + Harmless(reason->text));
  Cut(text, scorer_.reason_tokens());
  Append(ids, text);
  return ids;
}

Ids ScorerPrompts::Prefix(const Ids& head, std::span<const int64_t> history, const Ids& reason,
                          const Ids& tail, int64_t reserved) const {
  const int64_t room = scorer_.path_tokens() - reserved -
                       static_cast<int64_t>(head.size() + bought_.size() + tail.size());
  const bool list =
      scorer_.logit() == ScorerConfig::SPAN_LISTWISE || scorer_.logit() == ScorerConfig::LETTER;
  if (room < 0)
    Fail(Exit::kUsage, "pulse.scorer.path_tokens is ", scorer_.path_tokens(), ", ", -room,
         " too few for a prompt without history and reason; raise it or lower title_tokens",
         list ? " (or split.direct_negatives: all candidates stand in one text)" : "");
  Ids why = reason;
  Cut(why, room);
  int64_t left = room - std::ssize(why);
  std::vector<const Ids*> shown;  // newest first
  for (size_t i = history.size(); i > 0; --i) {
    const Ids& title = TitleIds(history[i - 1]);
    const int64_t cost = std::ssize(title) + (shown.empty() ? 0 : std::ssize(separator_));
    if (cost > left) break;
    left -= cost;
    shown.push_back(&title);
  }
  Ids prefix = head;
  Append(prefix, bought_);
  for (size_t i = shown.size(); i > 0; --i) {
    Append(prefix, *shown[i - 1]);
    if (i > 1) Append(prefix, separator_);
  }
  Append(prefix, why);
  Append(prefix, tail);
  return prefix;
}

void ScorerPrompts::CheckLetters(size_t candidates) const {
  if (candidates <= letters_.size()) return;
  const bool all = letters_.size() == 26;
  Fail(Exit::kUsage, "pulse.scorer.logit is LETTER, which names ", candidates, " candidates, but ",
       all ? std::string("the alphabet has 26 letters")
           : Cat("\" ", static_cast<char>('A' + std::ssize(letters_)),
                 "\" is not one token of the scorer's tokenizer"),
       "; lower split.direct_negatives or choose SPAN_LISTWISE",
       all ? "" : " or another tokenizer");
}

ScorerPrompt ScorerPrompts::Branched(std::span<const int64_t> history, int64_t most,
                                     const gen::ChosenReason* reason,
                                     std::span<const int64_t> candidates) const {
  Ids turn, head, tail = ask_;  // turn: between question and answer
  if (end_) turn = {*end_, *assistant_};
  if (user_) head = {*user_};
  ScorerPrompt prompt;
  auto& branches = prompt.branches;
  switch (scorer_.logit()) {
    case ScorerConfig::TITLE_LL:
      for (const int64_t item : candidates) branches.push_back(TitleIds(item));
      tail = Joined({ask_, turn, item_});
      break;
    case ScorerConfig::SPAN_LISTWISE:
      for (const int64_t item : candidates)
        branches.push_back(Joined({item_, TitleIds(item), separator_}));
      tail = list_;
      break;
    case ScorerConfig::LETTER:
      CheckLetters(candidates.size());
      tail = which_;
      for (size_t i = 0; i < candidates.size(); ++i) {
        branches.push_back({letters_[i]});
        Append(tail, Joined({option_, branches[i], colon_, TitleIds(candidates[i])}));
      }
      tail = Joined({tail, turn, answer_});
      break;
    default:
      for (const int64_t item : candidates)
        branches.push_back(Joined({item_, TitleIds(item), turn}));
  }
  const bool list = scorer_.logit() == ScorerConfig::SPAN_LISTWISE;
  const auto latest = history.last(std::min(history.size(), static_cast<size_t>(most)));
  prompt.prefix =
      Prefix(head, latest, ReasonIds(reason), tail, list ? prompt.tokens() : prompt.longest_path());
  return prompt;
}

ScorerPrompt ScorerPrompts::Completion(int64_t user, std::span<const int64_t> history, int64_t most,
                                       const gen::ChosenReason* reason,
                                       std::span<const int64_t> candidates, int64_t target) const {
  Ids tail = candidates_;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i > 0) Append(tail, separator_);
    Append(tail, TitleIds(candidates[i]));
  }
  ScorerPrompt prompt;
  if (target >= 0) {
    prompt.branches.push_back(TitleIds(target));
    prompt.branches[0].push_back(end_of_text_);
  }
  const Ids head =
      Encode(Cat("Customer ", train_.numbers.user.at(static_cast<size_t>(user)), ". "));
  Append(tail, next_);
  const auto latest = history.last(std::min(history.size(), static_cast<size_t>(most)));
  prompt.prefix = Prefix(head, latest, ReasonIds(reason), tail, scorer_.title_tokens() + 1);
  return prompt;
}

ScorerPrompt ScorerPrompts::TitlesAlone(std::span<const int64_t> candidates) const {
  ScorerPrompt prompt{.prefix = {end_of_text_}, .branches = {}};
  for (const int64_t item : candidates) prompt.branches.push_back(TitleIds(item));
  return prompt;
}

int64_t ScorerPrompts::CompletionTokens(int64_t target) const {
  return std::ssize(TitleIds(target)) + 1;
}

std::string MatchForm(const std::string& text) {
  std::string form;
  for (const unsigned char c : text) {
    const bool keep = c >= 0x80 || std::isalnum(c);  // letters beyond ASCII stay as they are
    if (keep)
      form.push_back(static_cast<char>(std::tolower(c)));
    else if (std::isspace(c) && !form.empty() && form.back() != ' ')
      form.push_back(' ');
  }
  if (!form.empty() && form.back() == ' ') form.pop_back();
  return form;
}

std::vector<bool> FoundTitles(const std::string& output, const std::vector<std::string>& titles) {
  const size_t begin = output.find_first_not_of(" \n\r\t");
  const std::string line =
      begin == output.npos ? std::string() : output.substr(begin, output.find('\n', begin) - begin);
  const std::string form = MatchForm(line);
  std::vector<bool> found;
  for (const std::string& title : titles) found.push_back(form.find(MatchForm(title)) != form.npos);
  return found;
}

}  // namespace whyrec::systems
