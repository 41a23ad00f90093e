#include "src/text/chat.h"

#include <algorithm>
#include <array>

#include "src/base/error.h"

namespace whyrec::text {
namespace {

constexpr std::array<std::string_view, 4> kRoles = {"system", "user", "assistant", "tool"};
constexpr std::string_view kEnd = "<|end|>", kEndOfText = "<|endoftext|>";

std::string Marker(std::string_view role) { return "<|" + std::string(role) + "|>"; }

}  // namespace

std::string ChatPrompt(std::span<const ChatMessage> messages, bool answer_next) {
  std::string prompt;
  for (const auto& [role, content] : messages) {
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
      Fail(Exit::kUsage, "chat role \"", role, "\" is not one of system, user, assistant, tool");
    prompt += Marker(role);
    prompt += content;
    prompt += kEnd;
  }
  return prompt += answer_next ? Marker("assistant") : std::string(kEndOfText);
}

bool SpellsSpecialToken(std::string_view content) {
  const auto has = [&](std::string_view token) { return content.find(token) != content.npos; };
  return has(kEnd) || has(kEndOfText) ||
         std::any_of(kRoles.begin(), kRoles.end(), [&](auto role) { return has(Marker(role)); });
}

std::vector<int64_t> ChatStopIds(const Tokenizer& tokenizer) {
  std::vector<int64_t> ids;
  for (std::string_view token : {kEnd, kEndOfText}) {
    const auto id = tokenizer.Id(token);
    if (!id)
      Fail(Exit::kData, "the tokenizer has no ", token, "; give that of Phi-4-mini-instruct");
    ids.push_back(*id);
  }
  return ids;
}

}  // namespace whyrec::text
