// Prompts against spelled-out texts, and bad template files against their errors.
#include "src/text/prompt.h"

#include <gtest/gtest.h>

#include <fstream>

#include "src/base/error.h"
#include "src/text/token_cache.h"
#include "tests/text/files.h"

namespace whyrec::text {
namespace {

const std::vector<int64_t> kItems{8, 66, 5};

std::filesystem::path Written(const std::string& text) {
  const auto file = std::filesystem::temp_directory_path() / "whyrec_prompt_test.json";
  std::ofstream(file) << text;
  return file;
}

TEST(Prompt, OursHaveThePublishedCountsAndTheirPlainFormLast) {
  const Templates ours;
  EXPECT_EQ(ours.sequential_count(), 8);
  EXPECT_EQ(ours.direct_count(), 5);
  EXPECT_EQ(ours.explanation_count(), 9);
  EXPECT_EQ(ours.SequentialPrompt(kPlain, 12, kItems), "user_12 item_8 item_66 item_5");
  EXPECT_EQ(ours.DirectPrompt(4, 12, kItems), "user_12 item_8 item_66 item_5");
  EXPECT_EQ(ours.ExplanationPrompt(kPlain, 12, 7), "user_12 item_7");
  EXPECT_EQ(ours.SequentialPrompt(3, 12, kItems),
            "So far user_12 has purchased item_8 item_66 item_5, forecast the following purchase.");
  EXPECT_EQ(ours.DirectPrompt(0, 12, kItems),
            "From this pool, which product suits user_12 best? item_8 item_66 item_5");
  EXPECT_EQ(ours.ExplanationPrompt(3, 12, 7), "What might user_12 remark on item_7?");
  EXPECT_THROW(ours.DirectPrompt(5, 12, kItems), Error);
}

// Ordinals need the user first; graph rows need "▁user" to be a piece of its own.
TEST(Prompt, EveryTemplateMarksUserThenItems) {
  WHYREC_NEEDS(SentencePieceModel());
  const auto tokenizer = LoadSentencePiece(SentencePieceModel());
  TokenCache cache(*tokenizer);
  const Templates ours;
  auto mentions = [&](const std::string& prompt, WholeWordRule rule) {
    std::vector<int64_t> seen;
    for (int64_t id : cache.Encode(prompt, rule, 1000).whole_words)
      if (id > 0 && (seen.empty() || seen.back() != id)) seen.push_back(id);
    return seen;
  };
  const std::vector<int64_t> ordinals{1, 2, 3, 4}, nodes{12, 1008, 1066, 1005}, pair{12, 1007};
  for (int64_t i = 0; i < ours.sequential_count(); ++i)
    EXPECT_EQ(mentions(ours.SequentialPrompt(i, 12, kItems), WholeWordRule::kOrdinal), ordinals);
  for (int64_t i = 0; i < ours.direct_count(); ++i)
    EXPECT_EQ(mentions(ours.DirectPrompt(i, 12, kItems), WholeWordRule::kNode), nodes);
  for (int64_t i = 0; i < ours.explanation_count(); ++i)
    EXPECT_EQ(mentions(ours.ExplanationPrompt(i, 12, 7), WholeWordRule::kNode), pair);
}

TEST(Prompt, ReadsAFileOfTheUser) {
  const Templates own(Written(R"({"sequential": ["a user_{} b item_{}", "user_{} item_{}"],
      "direct": ["user_{} item_{}!"], "explanation": ["user_{}, item_{}"]})"));
  EXPECT_EQ(own.sequential_count(), 2);
  EXPECT_EQ(own.SequentialPrompt(0, 1, kItems), "a user_1 b item_8 item_66 item_5");
  EXPECT_EQ(own.DirectPrompt(kPlain, 1, kItems), "user_1 item_8 item_66 item_5!");
}

TEST(Prompt, NamesWhatIsWrongWithAFile) {
  auto problem = [](const std::string& sequential) -> std::string {
    try {
      Templates(Written(R"({"direct": ["user_{} item_{}"], "explanation": ["user_{} item_{}"])" +
                        sequential + "}"));
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kData);
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(problem(R"(, "sequential": ["user_{} item_{}"])"), "");
  for (const auto& [bad, words] : std::vector<std::pair<std::string, std::string>>{
           {R"(, "sequential": ["user_{} item_{}", "user_{} item_"])", "template 2 holds 1 {}"},
           {R"(, "sequential": ["user_{} item_{} {}"])", "holds 3 {}"},
           {R"(, "sequential": ["item_{} user_{}"])", "first {} does not follow \"user_\""},
           {R"(, "sequential": ["user_{} {}"])", "second {} does not follow \"item_\""},
           {R"(, "sequential": [7])", "holds 0 {}"},
           {R"(, "sequential": [])", "no list \"sequential\""},
           {"", "no list \"sequential\""},
           {"]", "not a JSON object"}}) {
    EXPECT_NE(problem(bad).find(words), std::string::npos) << problem(bad) << " for " << bad;
    EXPECT_NE(problem(bad).find("whyrec_prompt_test.json"), std::string::npos) << problem(bad);
  }
}

}  // namespace
}  // namespace whyrec::text
