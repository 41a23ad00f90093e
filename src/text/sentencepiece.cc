// No protobuf header may be seen here: libsentencepiece carries an older copy of that library.
#include <sentencepiece_processor.h>

#include "src/base/error.h"
#include "src/text/special_tokens.h"
#include "src/text/tokenizer.h"

namespace whyrec::text {
namespace {

constexpr int64_t kSentinels = 100;
// Lead over the second best cut, in nats, that float sums over a text of thousands of pieces
// (scores about -10 each, a dozen roundings of 2^-11 within a word) cannot turn.
constexpr float kClearLead = 0.01f;

class SentencePiece final : public Tokenizer {
 public:
  explicit SentencePiece(const std::filesystem::path& model) : specials_({}) {
    const auto status = processor_.Load(model.string());
    if (!status.ok())
      Fail(Exit::kData, model.string(), ": ", status.ToString(),
           "; give the spiece.model of a T5 model");
    std::vector<std::pair<std::string, int64_t>> specials;
    for (int id : {processor_.pad_id(), processor_.eos_id(), processor_.unk_id()})
      if (id >= 0) specials.emplace_back(processor_.IdToPiece(id), id);
    for (int64_t i = 0; i < kSentinels; ++i)
      specials.emplace_back(Cat("<extra_id_", i, ">"), size() - 1 - i);
    specials_ = SpecialTokens(std::move(specials));
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
        pieces.emplace_back(part.text);
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
      if (id >= 0 && id < processor_.GetPieceSize() && !specials_.Has(id))
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
      if (part.id >= 0 && part.text == piece) return part.id;
    const int id = processor_.PieceToId({piece.data(), piece.size()});
    return id == processor_.unk_id() ? std::nullopt : std::optional<int64_t>(id);
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  SpecialTokens specials_;
};

}  // namespace

std::unique_ptr<Tokenizer> LoadSentencePiece(const std::filesystem::path& model) {
  return std::make_unique<SentencePiece>(model);
}

}  // namespace whyrec::text
