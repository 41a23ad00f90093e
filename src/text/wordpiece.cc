#include <utf8proc.h>

#include <cstdlib>
#include <unordered_map>

#include "src/base/error.h"
#include "src/base/text_file.h"
#include "src/text/special_tokens.h"
#include "src/text/tokenizer.h"

namespace whyrec::text {
namespace {

constexpr size_t kLongestWord = 100;  // characters; longer words are [UNK]

// Calls `visit(code point, its bytes)`; bytes that are no UTF-8 are skipped.
template <typename Visit>
void ForEachCharacter(std::string_view text, Visit visit) {
  while (!text.empty()) {
    utf8proc_int32_t c;
    const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                    static_cast<utf8proc_ssize_t>(text.size()), &c);
    if (n > 0) visit(c, text.substr(0, n));
    text.remove_prefix(n > 0 ? n : 1);
  }
}

void Append(utf8proc_int32_t c, std::string& text) {
  utf8proc_uint8_t bytes[4];
  text.append(reinterpret_cast<char*>(bytes), utf8proc_encode_char(c, bytes));
}

bool IsSpace(utf8proc_int32_t c) {
  const auto category = utf8proc_category(c);
  return c == '\t' || c == '\n' || c == '\r' ||
         (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

bool IsRemoved(utf8proc_int32_t c) {
  const auto category = utf8proc_category(c);
  return c == 0xfffd || category == UTF8PROC_CATEGORY_CN ||
         (category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO);
}

// BERT counts every ASCII symbol as punctuation ("$", "+", "^", ...).
bool IsPunctuation(utf8proc_int32_t c) {
  if (c < 0x80) return std::ispunct(c) != 0;
  const auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

// Ideograph blocks that BERT splits into single characters; kana and hangul are not among them.
bool IsIdeograph(utf8proc_int32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
         (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

std::string Normalise(const std::string& text, bool decompose) {
  utf8proc_uint8_t* out = nullptr;
  const auto form = decompose ? UTF8PROC_DECOMPOSE : UTF8PROC_COMPOSE;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &out,
                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  WR_CHECK(n >= 0, utf8proc_errmsg(n));
  std::string normal(reinterpret_cast<char*>(out), n);
  std::free(out);
  return normal;
}

class WordPiece final : public Tokenizer {
 public:
  WordPiece(const std::filesystem::path& vocab, bool lower_case)
      : lower_case_(lower_case), pieces_(ReadVocab(vocab)), specials_(Specials(vocab)) {}

  std::vector<int64_t> Encode(std::string_view text) const override {
    std::vector<int64_t> ids;
    for (const auto& part : specials_.Split(text)) {
      if (part.id >= 0)
        ids.push_back(part.id);
      else
        for (const auto& word : Words(part.text)) AddWord(word, ids);
    }
    return ids;
  }

  std::vector<std::string> Pieces(std::string_view text) const override {
    std::vector<std::string> pieces;
    for (int64_t id : Encode(text)) pieces.push_back(pieces_[id]);
    return pieces;
  }

  std::string Decode(const std::vector<int64_t>& ids) const override {
    std::string text;
    for (int64_t id : ids) {
      WR_CHECK(id >= 0 && id < size(), "id ", id, " of ", size());
      const std::string& piece = pieces_[id];
      if (specials_.Has(id)) continue;
      if (piece.starts_with("##"))
        text += piece.substr(2);
      else
        text += (text.empty() ? "" : " ") + piece;
    }
    return text;
  }

  int64_t size() const override { return static_cast<int64_t>(pieces_.size()); }

  std::optional<int64_t> Id(std::string_view piece) const override {
    const auto found = ids_.find(std::string(piece));
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  std::vector<std::string> ReadVocab(const std::filesystem::path& vocab) {
    std::vector<std::string> pieces;
    LineReader reader(vocab);
    for (std::string line; reader.Next(line); pieces.push_back(line))
      ids_[line] = static_cast<int64_t>(pieces.size());
    return pieces;
  }

  SpecialTokens Specials(const std::filesystem::path& vocab) const {
    std::vector<std::pair<std::string, int64_t>> specials;
    for (const char* token : {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}) {
      const auto found = ids_.find(token);
      if (found == ids_.end())
        Fail(Exit::kData, vocab.string(), ": no line ", token,
             "; give the vocab.txt of a BERT model");
      specials.push_back(*found);
    }
    return SpecialTokens(std::move(specials));
  }

  // Words and single punctuation marks, cleaned, in lower case without accents where asked for.
  std::vector<std::string> Words(std::string_view text) const {
    std::string clean;
    ForEachCharacter(text, [&](utf8proc_int32_t c, std::string_view) {
      if (IsSpace(c)) c = ' ';
      if (IsRemoved(c)) return;
      const bool alone = IsIdeograph(c);
      if (alone) clean += ' ';
      Append(lower_case_ ? utf8proc_tolower(c) : c, clean);
      if (alone) clean += ' ';
    });
    std::vector<std::string> words;
    bool open = false;  // the last word may grow
    ForEachCharacter(Normalise(clean, lower_case_),
                     [&](utf8proc_int32_t c, std::string_view bytes) {
                       if (lower_case_ && utf8proc_category(c) == UTF8PROC_CATEGORY_MN) return;
                       if (c == ' ') {
                         open = false;
                         return;
                       }
                       const bool punctuation = IsPunctuation(c);
                       if (!open || punctuation) words.emplace_back();
                       words.back() += bytes;
                       open = !punctuation;
                     });
    return words;
  }

  // The longest piece that fits, from left to right; a word with a rest that fits nothing is [UNK].
  void AddWord(const std::string& word, std::vector<int64_t>& ids) const {
    std::vector<size_t> ends;  // of the characters, in bytes
    size_t bytes = 0;
    ForEachCharacter(
        word, [&](utf8proc_int32_t, std::string_view c) { ends.push_back(bytes += c.size()); });
    const size_t before = ids.size();
    size_t start = 0;
    while (start < word.size() && ends.size() <= kLongestWord) {
      auto end = ends.rbegin();
      auto found = ids_.end();
      for (; end != ends.rend() && *end > start && found == ids_.end(); ++end)
        found = ids_.find((start > 0 ? "##" : "") + word.substr(start, *end - start));
      if (found == ids_.end()) break;
      ids.push_back(found->second);
      start = *std::prev(end);
    }
    if (start == word.size()) return;
    ids.resize(before);
    ids.push_back(ids_.at("[UNK]"));
  }

  bool lower_case_;
  std::unordered_map<std::string, int64_t> ids_;
  std::vector<std::string> pieces_;
  SpecialTokens specials_;
};

}  // namespace

std::unique_ptr<Tokenizer> LoadWordPiece(const std::filesystem::path& vocab, bool lower_case) {
  return std::make_unique<WordPiece>(vocab, lower_case);
}

}  // namespace whyrec::text
