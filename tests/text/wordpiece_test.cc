// WordPiece against golden ids of the reference BertTokenizer (tests/golden/make_tokenizers.py).
#include <gtest/gtest.h>

#include <fstream>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/text/tokenizer.h"
#include "tests/text/files.h"

namespace whyrec::text {
namespace {

using Ids = std::vector<int64_t>;

TEST(WordPiece, EqualsTheReferenceOn3000Strings) {
  WHYREC_NEEDS(BertVocab());
  const auto tokenizer = LoadWordPiece(BertVocab());
  const auto cased = LoadWordPiece(BertVocab(), false);
  std::string lines;
  int strings = 0, full = 0, hashes = 0;
  for (const auto& record : GoldenRecords("wordpiece.jsonl.gz")) {
    if (record.contains("sha256")) {
      EXPECT_EQ(Sha256Of(lines), record["sha256"]) << "hundred that ends with string " << strings;
      ++hashes;
      lines.clear();
      continue;
    }
    ++strings;
    const std::string text = record["text"];
    const Ids ids = tokenizer->Encode(text);
    for (size_t i = 0; i < ids.size(); ++i) lines += (i > 0 ? " " : "") + std::to_string(ids[i]);
    lines += '\n';
    if (!record.contains("ids")) continue;
    ++full;
    EXPECT_EQ(ids, record["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->Decode(ids), record["decoded"]) << text;
    EXPECT_EQ(cased->Encode(text), record["cased"].get<Ids>()) << text;
  }
  EXPECT_EQ(strings, 3000);
  EXPECT_EQ(full, 50);
  EXPECT_EQ(hashes, 30);
}

TEST(WordPiece, PiecesNameTheIds) {
  WHYREC_NEEDS(BertVocab());
  const auto tokenizer = LoadWordPiece(BertVocab());
  EXPECT_EQ(tokenizer->Pieces("Unaffable, [SEP]"),
            (std::vector<std::string>{"una", "##ffa", "##ble", ",", "[SEP]"}));
  EXPECT_EQ(tokenizer->size(), 30522);
}

TEST(WordPiece, BytesThatAreNoUtf8AreDropped) {
  WHYREC_NEEDS(BertVocab());
  const auto tokenizer = LoadWordPiece(BertVocab());
  EXPECT_EQ(tokenizer->Encode("g\xffift \xc3"), tokenizer->Encode("gift"));
}

TEST(WordPiece, RefusesAVocabularyWithoutSpecialTokens) {
  const auto file = std::filesystem::temp_directory_path() / "whyrec_wordpiece_test.txt";
  std::ofstream(file) << "[UNK]\nword\n";
  try {
    LoadWordPiece(file);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kData);
    EXPECT_NE(std::string(e.what()).find("[SEP]"), std::string::npos) << e.what();
  }
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace whyrec::text
