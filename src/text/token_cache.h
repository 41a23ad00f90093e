// Unigram segmentation never crosses a space, so each space-separated word is segmented once and
// cached. For a few words two segmentations score almost equally, and rounding in the sum over the
// whole text decides; texts with such a word are segmented as a whole.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/text/tokenizer.h"
#include "src/text/whole_word.h"

namespace whyrec::text {

struct Tokens {
  std::vector<int64_t> ids;          // no </s>
  std::vector<int64_t> whole_words;  // same length
};

// Equal to Tokenizer::Encode and WholeWordIds, word by word from a table. Not thread-safe.
class TokenCache {
 public:
  explicit TokenCache(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  Tokens Encode(std::string_view prompt, WholeWordRule rule, int64_t users);
  std::vector<int64_t> EncodeIds(std::string_view text);

 private:
  struct Word {
    std::vector<int64_t> ids;
    std::vector<std::string> pieces;
    bool cuts_alone;
  };
  // The words of the text; none when one of them does not cut alone.
  std::vector<const Word*> Words(std::string_view text);
  const Word& Lookup(std::string_view word);

  const Tokenizer& tokenizer_;
  std::unordered_map<std::string, Word> words_;
};

}  // namespace whyrec::text
