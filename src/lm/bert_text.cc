#include "src/lm/bert_text.h"

#include <algorithm>

#include "src/base/error.h"

namespace whyrec::lm {

BertText::BertText(const std::filesystem::path& folder, const BertConfig& config)
    : tokenizer_(text::LoadTokenizer(folder)) {
  if (tokenizer_->size() > config.vocabulary)
    Fail(Exit::kData, folder.string(), ": the tokenizer has ", tokenizer_->size(),
         " pieces, the network rows for ", config.vocabulary,
         "; give the tokenizer that the model was trained with");
  const bool roberta = config.family == BertConfig::Family::kRoberta;
  const auto special = [&](const char* piece) {
    if (const auto id = tokenizer_->Id(piece)) return *id;
    Fail(Exit::kData, folder.string(), ": the tokenizer lacks ", piece,
         "; give the tokenizer that the model was trained with");
  };
  first_ = special(roberta ? "<s>" : "[CLS]");
  last_ = special(roberta ? "</s>" : "[SEP]");
}

BertText::Tokens BertText::Encode(std::string_view text, int64_t max_tokens) const {
  const std::vector<int64_t> own = tokenizer_->Encode(text);
  const int64_t kept = std::min<int64_t>(std::ssize(own), max_tokens - 2);
  Tokens tokens;
  tokens.cut = kept < std::ssize(own);
  tokens.ids.reserve(static_cast<size_t>(kept) + 2);
  tokens.ids.push_back(first_);
  tokens.ids.insert(tokens.ids.end(), own.begin(), own.begin() + kept);
  tokens.ids.push_back(last_);
  return tokens;
}

void CopyTokenizerFiles(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  for (const char* name : {"vocab.txt", "tokenizer.json", "vocab.json", "merges.txt",
                           "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"})
    if (std::filesystem::exists(from / name))
      std::filesystem::copy_file(from / name, to / name,
                                 std::filesystem::copy_options::overwrite_existing);
}

}  // namespace whyrec::lm
