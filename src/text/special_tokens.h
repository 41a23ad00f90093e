// A text that spells a special token ("[SEP]", "</s>") means that token, as in the reference
// tokenizers; the text around it is tokenized on its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace whyrec::text {

class SpecialTokens {
 public:
  // Spellings with their ids; all begin with the same character, none is the start of another.
  explicit SpecialTokens(std::vector<std::pair<std::string, int64_t>> tokens)
      : tokens_(std::move(tokens)) {}

  struct Part {
    std::string_view text;
    int64_t id;  // of the special token; -1: ordinary text
  };
  std::vector<Part> Split(std::string_view text) const;  // without empty parts
  bool Has(int64_t id) const;

 private:
  std::vector<std::pair<std::string, int64_t>> tokens_;
};

}  // namespace whyrec::text
