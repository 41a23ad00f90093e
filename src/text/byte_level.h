// Byte-level BPE: a text is cut into words by regular expressions, each word into pieces of its
// UTF-8 bytes by byte-pair merging. Nothing is unknown and nothing is lost.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "src/text/added_tokens.h"
#include "src/text/byte_pairs.h"
#include "src/text/pattern.h"
#include "src/text/tokenizer.h"
#include "src/text/vocabulary.h"

namespace whyrec::text {

struct ByteLevelRules {
  struct Split {
    Pattern pattern;
    bool keep_matches = true, keep_rest = true;
  };
  Vocabulary vocabulary;  // with the added tokens
  AddedTokens added;
  std::vector<Split> splits;     // one after the other
  bool prefix_space = false;     // of every part between added tokens that begins without one
  std::optional<Pattern> words;  // cuts what the splits leave
  BytePairs pairs;
};

Pattern GptWords();  // the word pattern of GPT-2 and RoBERTa

std::unique_ptr<Tokenizer> MakeByteLevel(ByteLevelRules rules);

}  // namespace whyrec::text
