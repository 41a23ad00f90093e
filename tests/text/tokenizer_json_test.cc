// The rules of tokenizer.json: both merge notations, what is refused and how, added tokens,
// folders.
#include <gtest/gtest.h>

#include <functional>

#include "src/base/error.h"
#include "src/text/tokenizer.h"
#include "src/text/unicode.h"
#include "tests/base/error_of.h"
#include "tests/text/files.h"

namespace whyrec::text {
namespace {

using Ids = std::vector<int64_t>;
using Json = nlohmann::json;

std::unique_ptr<Tokenizer> Load(const Json& json) {
  return LoadTokenizerJson(TemporaryFile(json.dump()).path());
}

// Byte-level BPE over "a", "b", "c" and the space, small enough to work out by hand.
Json Tiny() {
  return Json::parse(R"({
    "version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "ab": 4, "bc": 5, "abc": 6,
              "Ġa": 7, "aa": 8, "!": 12}, "merges": ["b c", "a bc", "a b", "Ġ a", "a a"]}})");
}

Json Token(int64_t id, const char* content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

TEST(TokenizerJson, MergesByRankThenFromTheLeft) {
  const auto tokenizer = Load(Tiny());
  EXPECT_EQ(tokenizer->Encode("abc"), Ids{6});
  EXPECT_EQ(tokenizer->Encode("aaab"), (Ids{8, 4}));  // "a b" was learnt before "a a"
  EXPECT_EQ(tokenizer->Encode("aaa"), (Ids{8, 0}));
  EXPECT_EQ(tokenizer->Encode("b a"), (Ids{1, 7}));
  EXPECT_EQ(tokenizer->Encode(""), Ids{});
  EXPECT_EQ(tokenizer->Pieces("b a"), (std::vector<std::string>{"b", "Ġa"}));
}

TEST(TokenizerJson, BothMergeNotationsMeanTheSame) {
  for (const char* name : {"roberta.json", "phi.json"}) {
    Json file = Fixture(name), other = file;
    for (Json& merge : other["model"]["merges"]) {
      if (merge.is_array()) {
        merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
      } else {
        const std::string line = merge;
        const size_t space = line.find(' ');
        merge = {line.substr(0, space), line.substr(space + 1)};
      }
    }
    ASSERT_NE(file, other);
    const std::string text = "Gift cards are great, don't you think? 12345 ünïcödé\n\n  \t😀";
    EXPECT_EQ(Load(file)->Encode(text), Load(other)->Encode(text)) << name;
  }
}

TEST(TokenizerJson, OldestFilesNameNoModelType) {
  for (const char* name : {"roberta.json", "bert.json"}) {
    Json file = Fixture(name);
    const Ids ids = Load(file)->Encode("Two gift cards");
    file["model"].erase("type");
    EXPECT_EQ(Load(file)->Encode("Two gift cards"), ids) << name;
  }
}

// The split of Phi-4-mini matches everything, so its two ways of writing it agree.
TEST(TokenizerJson, KeepingMatchesIsDroppingTheRest) {
  Json file = Fixture("phi.json");
  const std::string text = "So, 12345 GIFT-cards'll do...\n\n ok";
  const Ids ids = Load(file)->Encode(text);
  file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed";
  EXPECT_EQ(Load(file)->Encode(text), Ids{});
  file["pre_tokenizer"]["pretokenizers"][0]["invert"] = true;
  EXPECT_EQ(Load(file)->Encode(text), ids);
}

TEST(TokenizerJson, PrefixSpaceWholeWordsAndUnknownBytes) {
  Json file = Tiny();
  file["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(Load(file)->Encode("a"), Ids{7});
  EXPECT_EQ(Load(file)->Encode(""), Ids{});
  file = Tiny();
  file["model"]["vocab"]["bab"] = 9;
  EXPECT_EQ(Load(file)->Encode("bab"), (Ids{1, 4}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(Load(file)->Encode("bab"), Ids{9});
  EXPECT_EQ(Load(file)->Encode("azzb"), (Ids{4}));  // without an unknown token they vanish
  file["model"]["unk_token"] = "!";
  EXPECT_EQ(Load(file)->Encode("azzb"), (Ids{0, 12, 12, 1}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(Load(file)->Encode("azzb"), (Ids{0, 12, 1}));
}

TEST(TokenizerJson, NfcComposesTheText) {
  Json file = Fixture("roberta.json");
  EXPECT_NE(Load(file)->Encode("e\u0301"), Load(file)->Encode("\u00e9"));
  file["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(Load(file)->Encode("e\u0301"), Load(file)->Encode("\u00e9"));
}

TEST(TokenizerJson, AddedTokensTakeSpacesAndKeepToWords) {
  Json file = Tiny();
  Json mask = Token(13, "<m>"), word = Token(14, "cab");
  mask["lstrip"] = true;
  word["single_word"] = true;
  file["added_tokens"] = {mask, word, Token(15, "<m>>"), Token(20, "aba")};
  const auto tokenizer = Load(file);
  EXPECT_EQ(tokenizer->Encode("a \u3000<m> a"), (Ids{0, 13, 7}));
  EXPECT_EQ(tokenizer->Encode("<m><m>>"), (Ids{13, 15}));  // the longest
  EXPECT_EQ(tokenizer->Encode("cab cab!"), (Ids{14, 3, 14, 12}));
  EXPECT_EQ(tokenizer->Encode("ccab"), (Ids{2, 2, 4}));
  EXPECT_EQ(tokenizer->Encode("ababa"), (Ids{20, 1, 0}));
  EXPECT_EQ(tokenizer->Decode({0, 13, 7, 9, 999, -1}), "a a");  // 9 is a gap
  EXPECT_EQ(tokenizer->size(), 21);
  EXPECT_EQ(tokenizer->Id("<m>"), 13);
  EXPECT_EQ(tokenizer->Id("nothing"), std::nullopt);
}

TEST(TokenizerJson, BrokenUtf8BecomesTheReplacementCharacter) {
  const auto tokenizer = LoadTokenizerJson(GoldenTokenizer("phi.json"));
  // Python: b"g\xffi\xe4\xbbx\xf0\x9f".decode(errors="replace")
  const std::string repaired = "g\ufffdi\ufffdx\ufffd";
  EXPECT_EQ(RepairUtf8("g\xffi\xe4\xbbx\xf0\x9f"), repaired);
  EXPECT_EQ(tokenizer->Encode("g\xffi\xe4\xbbx\xf0\x9f"), tokenizer->Encode(repaired));
  const Ids smile = tokenizer->Encode("\U0010fffd");
  ASSERT_GT(smile.size(), 1u);
  EXPECT_EQ(tokenizer->Decode({smile.front()}), "\ufffd");
}

TEST(TokenizerJson, LongWordsAreNoTrouble) {
  for (const char* name : {"roberta.json", "phi.json", "bert.json"}) {
    const auto tokenizer = LoadTokenizerJson(GoldenTokenizer(name));
    for (const char* unit : {"a", "A", "giftcard", " ", "\n", "'s", "7", "今", "!"}) {
      std::string text;
      while (text.size() < 200000) text += unit;
      const Ids ids = tokenizer->Encode(text);
      if (name != std::string("bert.json")) {
        EXPECT_EQ(tokenizer->Decode(ids), text) << unit;
      }
    }
  }
}

struct Bad {
  const char* base;
  const char* pointer;  // what is replaced
  Json value;
  std::string message;
};

TEST(TokenizerJson, RefusesWhatItDoesNotKnowByName) {
  const std::vector<Bad> cases = {
      {"roberta.json", "/version", "2.0", "version: is \"2.0\", which is not supported"},
      {"roberta.json", "/extra", 1, "the file: has \"extra\", which is not known"},
      {"roberta.json", "/model/type", "Unigram", "model.type: is \"Unigram\""},
      {"roberta.json", "/model/dropout", 0.1, "model.dropout: is 0.1"},
      {"roberta.json", "/model/byte_fallback", true, "model.byte_fallback: is true"},
      {"roberta.json", "/model/end_of_word_suffix", "</w>",
       "model.end_of_word_suffix: is \"</w>\""},
      {"roberta.json", "/model/unk_token", "<none>", "model.unk_token: \"<none>\" is not in"},
      {"roberta.json", "/model/merges/1", "a b c", "model.merges[1]: \"a b c\" is not two pieces"},
      {"roberta.json", "/model/merges/1", {"a", "b", "c"}, "model.merges[1]: has 3 pieces"},
      {"roberta.json", "/model/merges/2", "zq qz", "model.merges[2]: \"zq\" is not in model.vocab"},
      {"roberta.json", "/model/merges/2", 7, "model.merges[2]: is 7, not a text"},
      {"roberta.json", "/model/vocab/a", -1, "model.vocab.a: is -1, not a whole number"},
      {"roberta.json", "/model/vocab/a", 4000000000, "model.vocab.a: is 4000000000, not a whole"},
      {"roberta.json", "/model/vocab/a", 1.5, "model.vocab.a: is 1.5, not a whole number"},
      {"roberta.json", "/model/vocab/zz!", 70, ", as is \""},
      {"roberta.json", "/model/vocab", Json::object(), "model.vocab: has no pieces"},
      {"roberta.json", "/normalizer", {{"type", "Lowercase"}}, "normalizer.type: is \"Lowercase\""},
      {"roberta.json", "/pre_tokenizer", nullptr, "the file: lacks \"pre_tokenizer\""},
      {"roberta.json", "/pre_tokenizer/type", "Metaspace", "pre_tokenizer.type: is \"Metaspace\""},
      {"roberta.json", "/pre_tokenizer/odd", 1, "pre_tokenizer: has \"odd\", which is not known"},
      {"roberta.json", "/post_processor/type", "Odd", "post_processor.type: is \"Odd\""},
      {"roberta.json", "/decoder/type", "Metaspace", "decoder.type: is \"Metaspace\""},
      {"roberta.json", "/added_tokens/4/id", 3, "added_tokens[4].id: is 3; model.vocab has"},
      {"roberta.json", "/added_tokens/5/id", 3, "added_tokens[5].id: is 3, as is \"<unk>\""},
      {"roberta.json", "/added_tokens/5/content", "<s>", "\"<s>\" is listed twice"},
      {"roberta.json", "/added_tokens/5/content", "", "added_tokens[5].content: is empty"},
      {"roberta.json", "/added_tokens/0/lstrip", 1, "added_tokens[0].lstrip: is 1, not true or"},
      {"phi.json", "/pre_tokenizer/pretokenizers/0/type", "Digits",
       "pretokenizers[0].type: is \"Digits\""},
      {"phi.json", "/pre_tokenizer/pretokenizers/0/behavior", "Contiguous",
       "pretokenizers[0].behavior: is \"Contiguous\""},
      {"phi.json", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a",
       "pretokenizers[0].pattern.Regex: regular expression (a: "},
      {"phi.json",
       "/pre_tokenizer/pretokenizers/0/pattern",
       {{"String", " "}},
       "pretokenizers[0].pattern: has \"String\", which is not known"},
      {"phi.json",
       "/pre_tokenizer/pretokenizers/1",
       {{"type", "Split"}},
       "pretokenizers[1]: is Split; only Split rules and then one ByteLevel"},
      {"phi.json", "/pre_tokenizer/pretokenizers", Json::array(), "pretokenizers: is empty"},
      {"bert.json", "/normalizer/clean_text", false, "normalizer.clean_text: is false"},
      {"bert.json", "/normalizer/strip_accents", false, "normalizer.strip_accents: is false"},
      {"bert.json", "/normalizer/type", "NFC", "normalizer.type: is \"NFC\""},
      {"bert.json", "/pre_tokenizer/type", "Whitespace", "pre_tokenizer.type: is \"Whitespace\""},
      {"bert.json", "/decoder/prefix", "@@", "decoder.prefix: is \"@@\""},
      {"bert.json", "/model/unk_token", "[NONE]", "model.unk_token: \"[NONE]\" is not in"},
      {"bert.json", "/model/max_input_chars_per_word", "x", "is \"x\", not a whole number"},
  };
  for (const Bad& bad : cases) {
    Json file = Fixture(bad.base);
    file[Json::json_pointer(bad.pointer)] = bad.value;
    const TemporaryFile stored(file.dump());
    const std::string message = ErrorOf([&] { LoadTokenizerJson(stored.path()); });
    EXPECT_NE(message.find(bad.message), message.npos) << bad.pointer << ": " << message;
    EXPECT_TRUE(message.starts_with(stored.path().string())) << message;
  }
}

TEST(TokenizerJson, RefusesTruncatedFiles) {
  const std::string whole = Tiny().dump();
  for (size_t size = 0; size < whole.size(); size += 7) {
    const TemporaryFile file(whole.substr(0, size));
    const std::string message = ErrorOf([&] { LoadTokenizerJson(file.path()); });
    EXPECT_NE(message.find("truncated"), message.npos) << size << ": " << message;
  }
  EXPECT_NE(ErrorOf([] { LoadTokenizerJson("/nowhere/tokenizer.json"); }).find("cannot be read"),
            std::string::npos);
}

// vocab.json and merges.txt of the fixture give its ids.
TEST(LoadTokenizer, ReadsEveryKindOfFolder) {
  const Json roberta = Fixture("roberta.json");
  const TemporaryFolder folder;
  std::string merges = "#version: 0.2\n";
  for (const Json& merge : roberta["model"]["merges"]) merges += merge.get<std::string>() + "\n";
  folder.Write("vocab.json", roberta["model"]["vocab"].dump());
  const std::string none = ErrorOf([&] { LoadTokenizer(folder.path()); });
  EXPECT_NE(none.find("there is: vocab.json"), none.npos) << none;
  folder.Write("merges.txt", merges);
  const auto from_json = LoadTokenizerJson(GoldenTokenizer("roberta.json"));
  const std::string text = "<s>I'd give 2 cards to my niece <mask></s>";
  const Ids ids = from_json->Encode(text);
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode(text), ids);
  folder.Write("merges.txt", merges + "a\n");
  const std::string bad = ErrorOf([&] { LoadTokenizer(folder.path()); });
  const size_t line = roberta["model"]["merges"].size() + 2;
  EXPECT_NE(bad.find("merges.txt:" + std::to_string(line) + ": \"a\""), bad.npos) << bad;

  folder.Write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngift\nGift\n");
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode("Gift"), Ids{5});
  folder.Write("tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode("Gift"), Ids{6});
  folder.Write("tokenizer.json", Tiny().dump());
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode("abc"), Ids{6});
}

// The published files, where they are at hand: ids as everybody knows them.
TEST(PublishedTokenizers, Roberta) {
  const char* folder = std::getenv("WHYREC_ROBERTA");
  if (folder == nullptr) GTEST_SKIP() << "WHYREC_ROBERTA names no folder of roberta-base";
  const auto tokenizer = LoadTokenizer(folder);
  EXPECT_EQ(tokenizer->Encode("Hello world"), (Ids{31414, 232}));
  EXPECT_EQ(tokenizer->Encode("<s> <mask>"), (Ids{0, 50264}));
  EXPECT_EQ(tokenizer->size(), 50265);
}

TEST(PublishedTokenizers, Phi4Mini) {
  const char* folder = std::getenv("WHYREC_PHI");
  if (folder == nullptr) GTEST_SKIP() << "WHYREC_PHI names no folder of Phi-4-mini-instruct";
  const auto tokenizer = LoadTokenizer(folder);
  EXPECT_EQ(tokenizer->Encode("hello world"), (Ids{24912, 2375}));
  EXPECT_EQ(tokenizer->Encode("<|user|><|end|><|assistant|><|endoftext|>"),
            (Ids{200021, 200020, 200019, 199999}));
}

}  // namespace
}  // namespace whyrec::text
