// 20,000 fuzzed strings against the ids and decoded texts of the reference libraries
// (tests/golden/make_bpe.py): byte-level BPE as RoBERTa and as Phi-4-mini, WordPiece, T5.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "src/base/hash.h"
#include "src/text/tokenizer.h"
#include "tests/text/files.h"
#include "tests/text/fuzzed.h"

namespace whyrec::text {
namespace {

using Ids = std::vector<int64_t>;
using Json = nlohmann::json;

std::string Line(const Ids& ids) {
  std::string line;
  for (size_t i = 0; i < ids.size(); ++i) line += (i > 0 ? " " : "") + std::to_string(ids[i]);
  return line + "\n";
}

// Calls `lines(text)` for every string and compares the digest of each thousand.
template <typename Lines>
void ExpectDigests(const Json& golden, Lines lines) {
  const Json parts = Fixture("parts.json");
  ASSERT_EQ(static_cast<int64_t>(golden["sha256"].size()) * 1000, kFuzzedStrings);
  std::string thousand;
  for (int64_t i = 0; i < kFuzzedStrings; ++i) {
    thousand += lines(Fuzzed(parts, static_cast<uint64_t>(i)));
    if (i % 1000 < 999) continue;
    EXPECT_EQ(Sha256Of(thousand), golden["sha256"][static_cast<size_t>(i / 1000)])
        << "strings up to " << i;
    thousand.clear();
  }
}

void ExpectFirst(const Json& golden, const Tokenizer& tokenizer) {
  const Json texts = Fixture("golden.json")["texts"]["first"];
  ASSERT_EQ(texts.size(), golden["first"].size());
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(tokenizer.Encode(texts[i].get<std::string>()), golden["first"][i].get<Ids>())
        << texts[i];
}

TEST(GoldenTokenizers, TheStringsAreThoseOfTheScript) {
  const Json golden = Fixture("golden.json")["texts"], parts = Fixture("parts.json");
  for (size_t i = 0; i < golden["first"].size(); ++i)
    EXPECT_EQ(Fuzzed(parts, i), golden["first"][i].get<std::string>());
  ExpectDigests(golden, [](const std::string& text) { return text + "\n"; });
}

class GoldenFile : public testing::TestWithParam<const char*> {};

TEST_P(GoldenFile, IdsAndDecodedTextsEqualTheReference) {
  const std::string name = GetParam();
  const auto tokenizer = LoadTokenizerJson(GoldenTokenizer(name + ".json"));
  const Json golden = Fixture("golden.json")[name];
  ExpectFirst(golden, *tokenizer);
  ExpectDigests(golden, [&](const std::string& text) {
    const Ids ids = tokenizer->Encode(text);
    return Line(ids) + tokenizer->Decode(ids) + "\n";
  });
}

INSTANTIATE_TEST_SUITE_P(All, GoldenFile, testing::Values("roberta", "phi", "bert"),
                         [](const auto& info) { return std::string(info.param); });

// Added tokens off: special ones are dropped by Decode, and <mask> takes the spaces before it.
TEST(GoldenTokenizers, ByteLevelBpeLosesNothing) {
  const Json parts = Fixture("parts.json");
  for (const char* name : {"roberta.json", "phi.json"}) {
    Json file = Fixture(name);
    file["added_tokens"] = Json::array();
    const TemporaryFile changed(file.dump());
    const auto tokenizer = LoadTokenizerJson(changed.path());
    for (int64_t i = 0; i < kFuzzedStrings; ++i) {
      const std::string text = Fuzzed(parts, static_cast<uint64_t>(i));
      ASSERT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text) << name << " string " << i;
    }
  }
}

TEST(GoldenTokenizers, SentencePieceEqualsTheReference) {
  WHYREC_NEEDS(SentencePieceModel());
  const auto tokenizer = LoadSentencePiece(SentencePieceModel());
  const Json golden = Fixture("golden.json")["t5"], parts = Fixture("parts.json");
  ExpectFirst(golden, *tokenizer);
  std::set<std::string> near_ties;  // their cut differs between releases of the library
  for (const Json& n : golden["near_ties"]) near_ties.insert(Fuzzed(parts, n));
  EXPECT_LT(near_ties.size(), 1000u);
  ExpectDigests(golden, [&](const std::string& text) {
    return near_ties.contains(text) ? "" : Line(tokenizer->Encode(text));
  });
}

}  // namespace
}  // namespace whyrec::text
