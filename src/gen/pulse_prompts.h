// PULSE's prompts, in our wording (the public code has no licence): P1 explains the training
// target, P2 asks for the base reason, P3 refines a reason, P4 adds one thought to a chain. For one
// user the system line and the evidence of P2, P3 and P4 are the same bytes, so a decoder reads
// them once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/gen/evidence.h"

namespace whyrec::gen {

// Longest answers that the prompts ask for, in words.
inline constexpr int64_t kPositiveWords = 90, kReasonWords = 110;

struct PromptLimits {
  int64_t review_tokens = 96;    // longer reviews are cut
  int64_t prompt_tokens = 1536;  // longer prompts lose their oldest events, then neighbours
};

struct Prompt {
  std::string system, user;
};

Prompt PositivePrompt(const Evidence& evidence, const Target& target, const PromptLimits& limits);
Prompt BasePrompt(const Evidence& evidence, const PromptLimits& limits);
Prompt RefinePrompt(const Evidence& evidence, const std::string& draft, const PromptLimits& limits);
// `notes`: the chain so far; empty: none.
Prompt ChainPrompt(const Evidence& evidence, const std::string& notes, const PromptLimits& limits);

// Three words count as four tokens, a word of more than 24 bytes as a quarter of its bytes.
int64_t TokensAbout(std::string_view text);
// One line of UTF-8 that spells no special token of a tokenizer.
std::string Harmless(std::string_view text);

}  // namespace whyrec::gen
