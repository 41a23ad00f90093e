// What PULSE's scorer reads for one user, as tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/data/split.h"
#include "src/gen/reason_pool.h"
#include "src/text/tokenizer.h"

namespace whyrec::systems {

// A prefix and one branch for each candidate, or one continuation: the title to generate.
struct ScorerPrompt {
  std::vector<int64_t> prefix;
  std::vector<std::vector<int64_t>> branches;

  int64_t longest_path() const;
  int64_t tokens() const;  // of the prefix and all branches
};

// Renders within token budgets: titles are cut to title_tokens, the reason to reason_tokens, then
// the oldest titles of the history are dropped until the prefix and its longest branch, or the list
// of all candidates, fit path_tokens (512 in the paper).
class ScorerPrompts {
 public:
  // `config`: pulse.scorer and the protocol. All three must outlive the object, which belongs to
  // one thread.
  ScorerPrompts(const data::TrainView& train, const config::RunConfig& config,
                const text::Tokenizer& tokenizer);

  // History: item rows, oldest first, of which the latest `most` are shown. `reason`: null or empty
  // for none. One branch a candidate, as pulse.scorer.logit has it, behind
  //   <|user|>Bought before: {titles}\nWhy this customer buys: {reason}\n
  //   SCALAR_*       Is this the next purchase?\n + {Item: title}<|end|><|assistant|>
  //   TITLE_LL       Is this the next purchase?\n<|end|><|assistant|>Item: + { title}
  //   SPAN_LISTWISE  Which is the next purchase?\n + {Item: title;}, one behind the other
  //   LETTER         Which is the next purchase?{\nOption A: title}<|end|><|assistant|>Answer: +
  //                  { A}, of which only the letter's token counts
  // A tokenizer without the tokens of turns gets none. Error(kUsage) when LETTER has no token for
  // each candidate.
  ScorerPrompt Branched(std::span<const int64_t> history, int64_t most,
                        const gen::ChosenReason* reason, std::span<const int64_t> candidates) const;
  // TITLE_GENERATE: plain text with the user's number and the candidates, without chat turns;
  // continued by the target's title and the end of text, or by nothing (target -1).
  ScorerPrompt Completion(int64_t user, std::span<const int64_t> history, int64_t most,
                          const gen::ChosenReason* reason, std::span<const int64_t> candidates,
                          int64_t target) const;
  // The candidates' titles after nothing but the start of a text: the control that shows what the
  // base model knows of the titles before any training.
  ScorerPrompt TitlesAlone(std::span<const int64_t> candidates) const;

  // As prompts show it: never empty.
  std::string Title(int64_t item) const;
  int64_t CompletionTokens(int64_t target) const;  // of a title and the end of text
  // The ids at which a generated title ends.
  int64_t end_of_text() const { return end_of_text_; }

 private:
  using Ids = std::vector<int64_t>;
  Ids Encode(const std::string& text) const;
  void CheckLetters(size_t candidates) const;
  const Ids& TitleIds(int64_t item) const;  // " title", cut
  Ids ReasonIds(const gen::ChosenReason* reason) const;
  // head, the titles that fit, reason, tail, within path_tokens less `reserved`.
  Ids Prefix(const Ids& head, std::span<const int64_t> history, const Ids& reason, const Ids& tail,
             int64_t reserved) const;

  const data::TrainView& train_;
  const config::RunConfig& config_;
  const config::ScorerConfig& scorer_;
  const text::Tokenizer& tokenizer_;
  std::optional<int64_t> user_, end_, assistant_;
  int64_t end_of_text_ = 0;
  Ids bought_, separator_, why_, ask_, item_, candidates_, next_, which_, list_, option_, colon_,
      answer_;
  Ids letters_;                      // " A", " B", ... as far as these are single tokens
  mutable std::vector<Ids> titles_;  // by item, once asked for
};

// Lower case, no punctuation, single spaces: what the published substring match compares.
std::string MatchForm(const std::string& text);

// The published code's hit rule: which titles occur, in MatchForm, in the output's first line.
std::vector<bool> FoundTitles(const std::string& output, const std::vector<std::string>& titles);

}  // namespace whyrec::systems
