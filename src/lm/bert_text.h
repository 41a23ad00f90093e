// Texts as the BERT family reads them: [CLS] text [SEP], or <s> text </s>.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/lm/bert.h"
#include "src/text/tokenizer.h"

namespace whyrec::lm {

class BertText {
 public:
  // The folder's tokenizer. Error(kData) when there is none, when it lacks the family's special
  // tokens, or when it has more pieces than the network has rows.
  BertText(const std::filesystem::path& folder, const BertConfig& config);

  struct Tokens {
    std::vector<int64_t> ids;  // with special tokens, at most `max_tokens`
    bool cut = false;
  };
  Tokens Encode(std::string_view text, int64_t max_tokens) const;  // max_tokens >= 3

 private:
  std::unique_ptr<text::Tokenizer> tokenizer_;
  int64_t first_ = 0, last_ = 0;
};

// The tokenizer files of one folder into another, beside weights that were trained on.
void CopyTokenizerFiles(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace whyrec::lm
