// Tokenizers that load published vocabulary files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace whyrec::text {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids of the text alone: no special tokens are added. Texts are UTF-8.
  virtual std::vector<int64_t> Encode(std::string_view text) const = 0;
  virtual std::vector<std::string> Pieces(std::string_view text) const = 0;
  virtual std::string Decode(const std::vector<int64_t>& ids) const = 0;  // special tokens dropped
  virtual int64_t size() const = 0;                                       // ids are below it
  virtual std::optional<int64_t> Id(std::string_view piece) const = 0;    // of one whole piece
  // Whether this word, between spaces, is segmented the same way in every text. A unigram model may
  // decide near-ties by rounding in a sum over the whole text ("11111": 11|111 or 111|11).
  virtual bool CutsAlone(std::string_view) const { return true; }
};

// T5's unigram model (spiece.model) and its 100 sentinels <extra_id_99..0> at 32000..32099.
// pad 0, eos 1, unk 2. Error(kData) when the file is no SentencePiece model.
std::unique_ptr<Tokenizer> LoadSentencePiece(const std::filesystem::path& model);

// BERT's WordPiece with its normaliser (control characters, CJK, lower case, accents, punctuation).
// vocab.txt: one piece a line, line number - 1 = id. Decode joins "##" pieces.
std::unique_ptr<Tokenizer> LoadWordPiece(const std::filesystem::path& vocab,
                                         bool lower_case = true);

// tokenizer.json: byte-level BPE (RoBERTa, Phi-4-mini) or WordPiece, with its added tokens, which
// are recognised inside texts. Error(kData) names a rule of the file that is not supported.
std::unique_ptr<Tokenizer> LoadTokenizerJson(const std::filesystem::path& file);

// The tokenizer of a model folder: spiece.model, tokenizer.json, vocab.txt, or vocab.json with
// merges.txt (RoBERTa), the first that exists. Error(kData) lists what is there and what is needed.
std::unique_ptr<Tokenizer> LoadTokenizer(const std::filesystem::path& folder);

}  // namespace whyrec::text
