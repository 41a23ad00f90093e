#include "src/text/byte_level.h"

#include <mutex>

#include "src/text/unicode.h"

namespace whyrec::text {
namespace {

// Words repeat: their ids are remembered, up to a bound in count and length.
class WordCache {
 public:
  bool Append(std::string_view word, std::vector<int64_t>& ids) const {
    const std::lock_guard lock(mutex_);
    const auto found = words_.find(word);
    if (found == words_.end()) return false;
    ids.insert(ids.end(), found->second.begin(), found->second.end());
    return true;
  }
  void Add(std::string_view word, const int64_t* begin, const int64_t* end) {
    if (word.size() > kLongest) return;
    const std::lock_guard lock(mutex_);
    if (words_.size() < kWords) words_.try_emplace(std::string(word), begin, end);
  }

 private:
  static constexpr size_t kWords = 1 << 16, kLongest = 64;
  mutable std::mutex mutex_;
  TextMap<std::vector<int64_t>> words_;
};

class ByteLevel final : public Tokenizer {
 public:
  explicit ByteLevel(ByteLevelRules rules) : rules_(std::move(rules)) {}

  std::vector<int64_t> Encode(std::string_view text) const override {
    if (!IsUtf8(text)) return Encode(RepairUtf8(text));
    std::vector<int64_t> ids;
    for (const auto& part : rules_.added.Split(text)) {
      if (part.id >= 0)
        ids.push_back(part.id);
      else
        AddText(part.text, 0, ids);
    }
    return ids;
  }

  std::vector<std::string> Pieces(std::string_view text) const override {
    std::vector<std::string> pieces;
    for (int64_t id : Encode(text)) pieces.push_back(rules_.vocabulary.Piece(id));
    return pieces;
  }

  std::string Decode(const std::vector<int64_t>& ids) const override {
    std::string bytes;
    for (int64_t id : ids)
      if (!rules_.added.IsSpecial(id)) bytes += BytesOfLetters(rules_.vocabulary.Piece(id));
    return RepairUtf8(bytes);  // a piece may end within a character
  }

  int64_t size() const override { return rules_.vocabulary.size(); }
  std::optional<int64_t> Id(std::string_view piece) const override {
    return rules_.vocabulary.Id(piece);
  }
  bool CutsAlone(std::string_view) const override { return false; }  // the space is in the piece

 private:
  void AddText(std::string_view text, size_t split, std::vector<int64_t>& ids) const {
    if (split == rules_.splits.size()) {
      AddWords(text, ids);
      return;
    }
    const auto& rule = rules_.splits[split];
    for (const auto& piece : rule.pattern.Cut(text))
      if (piece.matched ? rule.keep_matches : rule.keep_rest) AddText(piece.text, split + 1, ids);
  }

  void AddWords(std::string_view text, std::vector<int64_t>& ids) const {
    std::string prefixed;
    if (rules_.prefix_space && !text.starts_with(' ')) text = prefixed = " " + std::string(text);
    if (!rules_.words) {
      AddWord(text, ids);
      return;
    }
    for (const auto& piece : rules_.words->Cut(text)) AddWord(piece.text, ids);
  }

  void AddWord(std::string_view word, std::vector<int64_t>& ids) const {
    if (cache_.Append(word, ids)) return;
    const size_t before = ids.size();
    rules_.pairs.Encode(word, ids);
    cache_.Add(word, ids.data() + before, ids.data() + ids.size());
  }

  ByteLevelRules rules_;
  mutable WordCache cache_;
};

}  // namespace

Pattern GptWords() {
  return Pattern(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
}

std::unique_ptr<Tokenizer> MakeByteLevel(ByteLevelRules rules) {
  return std::make_unique<ByteLevel>(std::move(rules));
}

}  // namespace whyrec::text
