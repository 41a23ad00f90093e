// What a sentence-transformers folder states besides the network: modules.json, the Pooling
// module's config.json, sentence_bert_config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "src/lm/bert.h"

namespace whyrec::lm {

// AUTO: what the files say; without them, what the papers' public code does with the model: for
// DistilBERT the first token (PULSE), for RoBERTa with EasyRec's layer EASYREC (ISRF).
// Error(kUsage) when neither decides it or the network lacks EASYREC's layer; Error(kData) names a
// module or pooling in the files that is not supported.
Pooling ChoosePooling(Pooling asked, const BertConfig& config, const std::filesystem::path& folder);

// Tokens of a text, special tokens included, where the files limit them.
std::optional<int64_t> SentenceLimit(const std::filesystem::path& folder);

// Writes the three files, so that AUTO finds `pooling` again (EasyRec's layer speaks for itself and
// has only the limit written).
void SaveSentenceFiles(const std::filesystem::path& folder, Pooling pooling, int64_t width,
                       int64_t max_tokens, bool normalise);

}  // namespace whyrec::lm
