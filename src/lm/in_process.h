// The IN_PROCESS back end: texts from a language model that runs in this process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "src/gen/generator.h"
#include "src/lm/language_model.h"

namespace whyrec::lm {

// How a prompt becomes tokens. kChat: with the chat template, where the tokenizer has its tokens;
// otherwise, and with kPlain, the system line and the prompt as plain text.
enum class Turns { kChat, kPlain };

// A Phi or T5 folder. A request's name is its random stream, its group shares a batch under
// options.deterministic. Special tokens that a prompt spells lose their meaning. Error(kData)
// names the request whose prompt does not fit the model's context.
std::unique_ptr<gen::Generator> MakeInProcess(const std::filesystem::path& folder,
                                              const ModelOptions& options, uint64_t seed,
                                              Turns turns = Turns::kChat);

}  // namespace whyrec::lm
