#include "src/text/wordpiece.h"

#include <utf8proc.h>

#include <cctype>

#include "src/base/error.h"
#include "src/base/text_file.h"
#include "src/text/unicode.h"

namespace whyrec::text {
namespace {

bool IsSpace(int32_t c) {
  const auto category = utf8proc_category(c);
  return c == '\t' || c == '\n' || c == '\r' ||
         (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

bool IsRemoved(int32_t c, BertReference reference) {
  const auto category = utf8proc_category(c);
  return c == 0xfffd || (category == UTF8PROC_CATEGORY_CN && reference == BertReference::kSlow) ||
         (category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO);
}

// BERT counts every ASCII symbol as punctuation ("$", "+", "^", ...).
bool IsPunctuation(int32_t c) {
  if (c < 0x80) return std::ispunct(c) != 0;
  const auto category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

// Ideograph blocks that BERT splits into single characters; kana and hangul are not among them.
bool IsIdeograph(int32_t c, BertReference reference) {
  if (reference == BertReference::kFast && c >= 0x2b820 && c < 0x2b920) return false;
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
         (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

// Words and single punctuation marks of a normalised text.
std::vector<std::string> Words(std::string_view normal) {
  std::vector<std::string> words;
  bool open = false;  // the last word may grow
  ForEachCharacter(normal, [&](int32_t c, std::string_view bytes) {
    if (IsSpace(c)) {
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

class WordPiece final : public Tokenizer {
 public:
  explicit WordPiece(WordPieceRules rules) : rules_(std::move(rules)) {}

  std::vector<int64_t> Encode(std::string_view text) const override {
    std::vector<int64_t> ids;
    for (const auto& part : rules_.added.Split(text)) {
      if (part.id >= 0)
        ids.push_back(part.id);
      else
        for (const auto& word : Words(part.text)) AddWord(word, ids);
    }
    return ids;
  }

  std::vector<std::string> Pieces(std::string_view text) const override {
    std::vector<std::string> pieces;
    for (int64_t id : Encode(text)) pieces.push_back(rules_.vocabulary.Piece(id));
    return pieces;
  }

  std::string Decode(const std::vector<int64_t>& ids) const override {
    std::string text;
    bool first = true;
    for (int64_t id : ids) {
      const std::string& piece = rules_.vocabulary.Piece(id);
      if (piece.empty() || rules_.added.IsSpecial(id)) continue;
      if (!first && piece.starts_with(rules_.inner))
        text += piece.substr(rules_.inner.size());
      else
        text += (first ? "" : " ") + piece;
      first = false;
    }
    return text;
  }

  int64_t size() const override { return rules_.vocabulary.size(); }
  std::optional<int64_t> Id(std::string_view piece) const override {
    return rules_.vocabulary.Id(piece);
  }
  bool CutsAlone(std::string_view) const override { return rules_.added.CutAtSpaces(); }

 private:
  // The longest piece that fits, from left to right; a word with a rest that fits nothing is
  // unknown.
  void AddWord(const std::string& word, std::vector<int64_t>& ids) const {
    std::vector<size_t> ends;  // of the characters, in bytes
    size_t bytes = 0;
    ForEachCharacter(word, [&](int32_t, std::string_view c) { ends.push_back(bytes += c.size()); });
    const size_t before = ids.size();
    size_t start = 0;
    while (start < word.size() && ends.size() <= rules_.longest_word) {
      auto end = ends.rbegin();
      std::optional<int64_t> found;
      for (; end != ends.rend() && *end > start && !found; ++end)
        found = rules_.model.Id((start > 0 ? rules_.inner : "") + word.substr(start, *end - start));
      if (!found) break;
      ids.push_back(*found);
      start = *std::prev(end);
    }
    if (start == word.size()) return;
    ids.resize(before);
    ids.push_back(rules_.unknown);
  }

  WordPieceRules rules_;
};

}  // namespace

std::string BertNormal(std::string_view text, bool lower_case, BertReference reference) {
  std::string clean;
  ForEachCharacter(text, [&](int32_t c, std::string_view) {
    if (IsSpace(c)) c = ' ';
    if (IsRemoved(c, reference)) return;
    const bool alone = IsIdeograph(c, reference);
    if (alone) clean += ' ';
    AppendUtf8(lower_case ? utf8proc_tolower(c) : c, clean);
    if (alone) clean += ' ';
  });
  if (!lower_case) return clean;
  std::string plain;
  ForEachCharacter(Decompose(clean), [&](int32_t c, std::string_view bytes) {
    if (utf8proc_category(c) != UTF8PROC_CATEGORY_MN) plain += bytes;
  });
  return plain;
}

std::unique_ptr<Tokenizer> MakeWordPiece(WordPieceRules rules) {
  return std::make_unique<WordPiece>(std::move(rules));
}

std::unique_ptr<Tokenizer> LoadWordPiece(const std::filesystem::path& vocab, bool lower_case) {
  WordPieceRules rules;
  LineReader reader(vocab);
  for (std::string line; reader.Next(line);) rules.model.Add(line, rules.model.size());
  rules.vocabulary = rules.model;
  std::vector<AddedToken> added;
  for (const char* token : {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}) {
    const auto id = rules.vocabulary.Id(token);
    if (!id)
      Fail(Exit::kData, vocab.string(), ": no line ", token,
           "; give the vocab.txt of a BERT model");
    added.push_back({.content = token, .id = *id});
  }
  rules.added = AddedTokens(std::move(added), [lower_case](std::string_view text) {
    // The slow reference tokenizer, which reads vocab.txt, also composes what keeps its accents.
    const std::string normal = BertNormal(text, lower_case, BertReference::kSlow);
    return lower_case ? normal : Compose(normal);
  });
  rules.unknown = *rules.vocabulary.Id("[UNK]");
  return MakeWordPiece(std::move(rules));
}

}  // namespace whyrec::text
