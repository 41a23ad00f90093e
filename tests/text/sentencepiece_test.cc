// SentencePiece against golden ids of the reference T5 tokenizer (tests/golden/make_tokenizers.py).
#include <gtest/gtest.h>

#include "proto/config.pb.h"
#include "src/base/error.h"
#include "src/text/tokenizer.h"
#include "tests/text/files.h"

namespace whyrec::text {
namespace {

using Ids = std::vector<int64_t>;

TEST(SentencePiece, EqualsTheReferenceOnRealAndFuzzedStrings) {
  WHYREC_NEEDS(SentencePieceModel());
  const auto tokenizer = LoadSentencePiece(SentencePieceModel());
  const auto records = GoldenRecords("sentencepiece.jsonl.gz");
  ASSERT_EQ(records.size(), 400u);
  for (const auto& record : records) {
    const std::string text = record["text"];
    EXPECT_EQ(tokenizer->Encode(text), record["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->Pieces(text), record["pieces"].get<std::vector<std::string>>()) << text;
    EXPECT_EQ(tokenizer->Decode(record["ids"].get<Ids>()), record["decoded"]) << text;
  }
}

TEST(SentencePiece, SentinelsCountDownTo32000) {
  WHYREC_NEEDS(SentencePieceModel());
  const auto tokenizer = LoadSentencePiece(SentencePieceModel());
  EXPECT_EQ(tokenizer->size(), 32100);
  EXPECT_EQ(tokenizer->Encode("<extra_id_0><extra_id_99>"), (Ids{32099, 32000}));
  EXPECT_EQ(tokenizer->Decode({32099, 0, 1, 2, 32127}), "");
}

// The library carries protobuf 3.14; ours is 3.21, static and hidden. Both work in one process.
TEST(SentencePiece, LivesWithOurProtoMessages) {
  WHYREC_NEEDS(SentencePieceModel());
  config::RunConfig before;
  before.mutable_catalogue()->set_domain("beauty");
  const auto tokenizer = LoadSentencePiece(SentencePieceModel());
  const Ids ids = tokenizer->Encode("user_12252 item_8668");
  config::RunConfig after;
  ASSERT_TRUE(after.ParseFromString(before.SerializeAsString()));
  EXPECT_EQ(after.catalogue().domain(), "beauty");
  EXPECT_EQ(tokenizer->Encode("user_12252 item_8668"), ids);
}

TEST(SentencePiece, RefusesAnotherFile) {
  try {
    LoadSentencePiece(__FILE__);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kData);
    EXPECT_NE(std::string(e.what()).find(__FILE__), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace whyrec::text
