// Chat prompts of Phi-4-mini: <|system|>S<|end|><|user|>U<|end|><|assistant|>, no line breaks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/tokenizer.h"

namespace whyrec::text {

struct ChatMessage {
  std::string role;  // system, user, assistant or tool
  std::string content;
};

// The text to encode. It ends with <|assistant|>, so that the model answers next, or with
// <|endoftext|> for a finished conversation (a training text). As in the reference, a content that
// spells a special token ("<|end|>") means that token; SpellsSpecialToken tells before.
// Error(kUsage) for another role.
std::string ChatPrompt(std::span<const ChatMessage> messages, bool answer_next = true);

// Whether the text, which may come from anybody, would change the turns of a conversation.
bool SpellsSpecialToken(std::string_view content);

// The ids at which an answer ends: <|end|> and <|endoftext|>. Error(kData) when the tokenizer has
// not both.
std::vector<int64_t> ChatStopIds(const Tokenizer& tokenizer);

}  // namespace whyrec::text
