// No protobuf header may be seen here: libsentencepiece carries an older copy of that library.
#include <sentencepiece_processor.h>

#include "src/base/error.h"
#include "src/text/added_tokens.h"
#include "src/text/tokenizer.h"

namespace whyrec::text {
namespace {

constexpr int64_t kSentinels = 100;
// Lead over the second best cut, in nats, that float sums over a text of thousands of pieces
// (scores about -10 each, a dozen roundings of 2^-11 within a word) cannot turn.
constexpr float kClearLead = 0.01f;

class SentencePiece final : public Tokenizer {
 public:
  explicit SentencePiece(const std::filesystem::path& model) {
    const auto status = processor_.Load(model.string());
    if (!status.ok())
      Fail(Exit::kData, model.string(), ": ", status.ToString(),
           "; give the spiece.model of a T5 model");
    std::vector<AddedToken> specials;
    for (int id : {processor_.pad_id(), processor_.eos_id(), processor_.unk_id()})
      if (id >= 0) specials.push_back({.content = processor_.IdToPiece(id), .id = id});
    for (int64_t i = 0; i < kSentinels; ++i)
      specials.push_back({.content = Cat("<extra_id_", i, ">"),
                          .id = size() - 1 - i,
                          .lstrip = true,
                          .rstrip = true});
    specials_ = AddedTokens(std::move(specials));
  }

  std::vector<int64_t> Encode(std::string_view text) const override {
    std::vector<int64_t> ids;
    for (const auto& part : specials_.Split(text)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      const auto encoded = processor_.EncodeAsIds({part.text.data(), part.text.size()});
      ids.insert(ids.end(), encoded.begin(), encoded.end());
    }
    return ids;
  }

  std::vector<std::string> Pieces(std::string_view text) const override {
    std::vector<std::string> pieces;
    for (const auto& part : specials_.Split(text)) {
      if (part.id >= 0) {
        pieces.push_back(Spelling(part.id));  // without the spaces that it took
        continue;
      }
      const auto encoded = processor_.EncodeAsPieces({part.text.data(), part.text.size()});
      pieces.insert(pieces.end(), encoded.begin(), encoded.end());
    }
    return pieces;
  }

  std::string Decode(const std::vector<int64_t>& ids) const override {
    std::vector<int> plain;
    for (int64_t id : ids)  // a model's table may have more rows than there are pieces
      if (id >= 0 && id < processor_.GetPieceSize() && !specials_.IsSpecial(id))
        plain.push_back(static_cast<int>(id));
    const std::string text = processor_.DecodeIds(plain);
    const size_t begin = text.find_first_not_of(' ');
    return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
  }

  bool CutsAlone(std::string_view word) const override {
    for (const auto& part : specials_.Split(word)) {
      if (part.id >= 0) continue;
      const auto best =
          processor_.NBestEncodeAsImmutableProto({part.text.data(), part.text.size()}, 2);
      if (best.nbests_size() > 1 && best.nbests(0).score() - best.nbests(1).score() < kClearLead)
        return false;
    }
    return true;
  }

  int64_t size() const override { return processor_.GetPieceSize() + kSentinels; }

  std::optional<int64_t> Id(std::string_view piece) const override {
    for (const auto& part : specials_.Split(piece))
      if (part.id >= 0 && Spelling(part.id) == piece) return part.id;
    const int id = processor_.PieceToId({piece.data(), piece.size()});
    return id == processor_.unk_id() ? std::nullopt : std::optional<int64_t>(id);
  }

 private:
  std::string Spelling(int64_t special) const {
    return special < processor_.GetPieceSize() ? processor_.IdToPiece(static_cast<int>(special))
                                               : Cat("<extra_id_", size() - 1 - special, ">");
  }

  sentencepiece::SentencePieceProcessor processor_;
  AddedTokens specials_;
};

}  // namespace

std::unique_ptr<Tokenizer> LoadSentencePiece(const std::filesystem::path& model) {
  return std::make_unique<SentencePiece>(model);
}

}  // namespace whyrec::text
