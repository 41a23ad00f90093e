// Whole-word ids against a spelled-out prompt ("user_12252 item_8668", the example in the public
// code of ELMRec), and the cache against the tokenizer itself.
#include "src/text/whole_word.h"

#include <gtest/gtest.h>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/text/token_cache.h"
#include "tests/text/files.h"

namespace whyrec::text {
namespace {

using Ids = std::vector<int64_t>;
using Pieces = std::vector<std::string>;

TEST(WholeWord, ExampleOfTheAncestors) {
  WHYREC_NEEDS(SentencePieceModel());
  const auto pieces = LoadSentencePiece(SentencePieceModel())->Pieces("user_12252 item_8668");
  ASSERT_EQ(pieces, (Pieces{"▁user", "_", "122", "52", "▁item", "_", "86", "68"}));
  const int64_t u = 12252, v = 22363 + 8668;
  EXPECT_EQ(WholeWordIds(pieces, WholeWordRule::kNode, 22363), (Ids{u, u, u, u, v, v, v, v}));
  EXPECT_EQ(WholeWordIds(pieces, WholeWordRule::kOrdinal, 22363), (Ids{1, 1, 1, 1, 2, 2, 2, 2}));
}

TEST(WholeWord, OtherTokensGetZeroAndSpansEndAtTheFirstPieceThatIsNoNumber) {
  const Pieces pieces{"▁Of", "▁user", "_",  "7",     ":", "▁item", "_",
                      "1",   "2",     "▁3", "▁item", "_", "4",     ","};
  EXPECT_EQ(WholeWordIds(pieces, WholeWordRule::kNode, 100),
            (Ids{0, 7, 7, 7, 0, 112, 112, 112, 112, 0, 104, 104, 104, 0}));
  EXPECT_EQ(WholeWordIds(pieces, WholeWordRule::kOrdinal, 100),
            (Ids{0, 1, 1, 1, 0, 2, 2, 2, 2, 0, 3, 3, 3, 0}));
}

TEST(WholeWord, MentionWithoutDigitsHasAnOrdinalButNoNode) {
  const Pieces pieces{"▁item", "_", "x", "▁item", "_", "4"};
  EXPECT_EQ(WholeWordIds(pieces, WholeWordRule::kNode, 10), (Ids{0, 0, 0, 14, 14, 14}));
  EXPECT_EQ(WholeWordIds(pieces, WholeWordRule::kOrdinal, 10), (Ids{1, 1, 0, 2, 2, 2}));
  EXPECT_TRUE(WholeWordIds({}, WholeWordRule::kNode, 10).empty());
}

// Words that a prompt may hold: mentions with and without punctuation, plain words, odd characters.
std::string RandomWord(Rng& rng) {
  static const Pieces plain{"Order",  "record", "of",       "café", "x_y", "_",
                            "item_",  "½",      "a\u00a0b", "日本", "",    "<extra_id_3>",
                            "naïve-", "12",     "\u200b",   "¨"};
  static const Pieces ends{"", "", ",", ":", ".", "?"};
  const std::string number = std::to_string(rng.Below(40000));
  const uint64_t kind = rng.Below(4);
  if (kind == 0) return plain[rng.Below(plain.size())];
  return (kind == 1 ? "user_" : "item_") + number + ends[rng.Below(ends.size())];
}

TEST(TokenCache, EqualsTheTokenizerOn10000Prompts) {
  WHYREC_NEEDS(SentencePieceModel());
  const auto tokenizer = LoadSentencePiece(SentencePieceModel());
  TokenCache cache(*tokenizer);
  for (uint64_t n = 0; n < 10000; ++n) {
    Rng rng(1, "prompt", 0, n);
    std::string prompt;
    for (uint64_t words = rng.Below(40); words > 0; --words) prompt += RandomWord(rng) + " ";
    const auto rule = n % 2 == 0 ? WholeWordRule::kOrdinal : WholeWordRule::kNode;
    const Tokens tokens = cache.Encode(prompt, rule, 22363);
    ASSERT_EQ(tokens.ids, tokenizer->Encode(prompt)) << prompt;
    ASSERT_EQ(tokens.whole_words, WholeWordIds(tokenizer->Pieces(prompt), rule, 22363)) << prompt;
    ASSERT_EQ(cache.EncodeIds(prompt), tokens.ids);
  }
}

}  // namespace
}  // namespace whyrec::text
