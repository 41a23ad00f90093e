// BERT's WordPiece over its normaliser; from vocab.txt or from tokenizer.json.
#pragma once

#include <memory>
#include <string>

#include "src/text/added_tokens.h"
#include "src/text/tokenizer.h"
#include "src/text/vocabulary.h"

namespace whyrec::text {

struct WordPieceRules {
  Vocabulary model;           // the pieces of words
  Vocabulary vocabulary;      // with the added tokens
  AddedTokens added;          // its normalizer is BertNormal
  int64_t unknown = 0;        // id of a word that cannot be cut into pieces
  std::string inner = "##";   // begins the pieces that continue a word
  size_t longest_word = 100;  // characters; longer words are unknown
};

// The two reference tokenizers differ in details: the slow one (vocab.txt) drops unassigned
// characters, the fast one (tokenizer.json) keeps them, and does not know a part of the ideographs.
enum class BertReference { kSlow, kFast };

// Cleaned, ideographs apart, in lower case without accents where asked for.
std::string BertNormal(std::string_view text, bool lower_case, BertReference reference);

std::unique_ptr<Tokenizer> MakeWordPiece(WordPieceRules rules);

}  // namespace whyrec::text
