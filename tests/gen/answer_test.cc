// Answer parsing against the rules of isrf 7.3, one spelled-out answer per rule.
#include "src/gen/answer.h"

#include <gtest/gtest.h>

#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

struct Case {
  const char* rule;
  std::string raw;
  std::string text, why, parse;
};

TEST(Answer, FollowsTheRules) {
  const std::vector<Case> cases{
      {"plain", R"({"summary": "Likes tea.", "why": "Bought tea."})", "Likes tea.", "Bought tea.",
       "json"},
      {"key order, other keys", R"({"why": "b", "n": 3, "summary": "a"})", "a", "b", "json"},
      {"first key of the list wins", R"({"profile": "p", "summarization": "s", "reasoning": "r"})",
       "s", "r", "json"},
      {"white space", "{\"summary\": \"  two\\n\\n lines\\t \"}", "two lines", "", "json"},
      // 1: thinking
      {"after the last </think>",
       "<think>{\"summary\": \"no\"}</think> no </think>{\"summary\": \"yes\"}", "yes", "", "json"},
      {"cut while thinking", "<think> {\"summary\": \"no\"}", "", "", "failed"},
      {"only thinking", "<think>hm</think>\n ", "", "", "failed"},
      {"nothing", "", "", "", "failed"},
      // 2: fences, balance, repair
      {"fence", "Sure!\n```json\n{\"summary\": \"a b\"}\n```\nDone {x}.", "a b", "", "json"},
      {"fence without line end", "```{\"summary\": \"a b\"}```", "a b", "", "json"},
      {"braces and quotes in strings",
       R"({"summary": "a } \" { b \\", "why": "c"} {"summary": "d"})", "a } \" { b \\", "c",
       "json"},
      {"nested object before", R"({"n": {"summary": "no"}, "summary": "yes"})", "yes", "", "json"},
      {"trailing commas", "{\"summary\": \"a, }\", \"why\": \"b\",\n }", "a, }", "b", "json"},
      {"trailing comma of a list", "{\"tags\": [1, 2, ], \"summary\": \"a\"}", "a", "", "json"},
      {"raw line ends and tabs in strings", "{\"summary\": \"a\nb\tc\r\nd\", \"why\": \"e,\n}\",}",
       "a b c d", "e, }", "json"},
      // 3: missing
      {"None", R"({"summary": "None", "why": "empty record"})", "", "empty record", "json"},
      {"none.", R"({"summary": " none. "})", "", "", "json"},
      {"null", R"({"summary": null, "profile": "not asked"})", "", "", "json"},
      {"empty", R"({"summary": ""})", "", "", "json"},
      {"no string", R"({"summary": ["a", "b"]})", R"(["a","b"])", "", "json"},
      // 4: fallback
      {"cut off object", R"({"summary": "Likes \"green\" tea and cups", "why": "because of)",
       "Likes \"green\" tea and cups", "", "fallback"},
      {"cut off in the summary", "{\"summary\": \"Likes green tea and", "Likes green tea and", "",
       "fallback"},
      {"label in prose, last one", "Summary: first\nmore\n**Summary:** Likes tea.\nWhy: x",
       "Likes tea.", "", "fallback"},
      {"last of several labels", "Profile: p\nPreference : q", "q", "", "fallback"},
      {"a word that is no label", "In summary I like it", "In summary I like it", "", "fallback"},
      {"object without a known key", R"({"text": "a"})", R"({"text": "a"})", "", "fallback"},
      {"label with None", "summary: None", "", "", "fallback"},
  };
  for (const auto& c : cases) {
    const ParsedAnswer answer = ParseAnswer(c.raw, 80);
    EXPECT_EQ(answer.text, c.text) << c.rule;
    EXPECT_EQ(answer.why, c.why) << c.rule;
    EXPECT_EQ(answer.parse, c.parse) << c.rule;
  }
}

TEST(Answer, FallsBackToFiftyWordsOfUnlabelledProse) {
  std::string raw, fifty;
  for (int i = 0; i < 70; ++i) raw += "word" + std::to_string(i) + "\n";
  for (int i = 0; i < 50; ++i) fifty += (i > 0 ? " word" : "word") + std::to_string(i);
  EXPECT_EQ(ParseAnswer(raw, 80).text, fifty);
  EXPECT_EQ(WordCount(ParseAnswer(raw, 25).text), 25);
}

TEST(Answer, CutsAtTheLastSentenceEndWithinTheLimit) {
  const std::string raw = R"({"summary": "One two three. Four five (six!) Seven eight nine ten."})";
  EXPECT_EQ(ParseAnswer(raw, 10).text, "One two three. Four five (six!) Seven eight nine ten.");
  EXPECT_EQ(ParseAnswer(raw, 9).text, "One two three. Four five (six!)");
  EXPECT_EQ(ParseAnswer(raw, 6).text, "One two three. Four five (six!)");
  EXPECT_EQ(ParseAnswer(raw, 5).text, "One two three.");
  EXPECT_EQ(ParseAnswer(raw, 2).text, "One two");  // no sentence ends within it
}

// Whatever a model writes, the parser ends and keeps the limit: every prefix of a nasty answer.
TEST(Answer, EveryPrefixOfAnAnswerParses) {
  const std::string raw =
      "ok <think>x</think>```json\n{\"why\": \"a\\\"b\", \"summary\": \"c {d} \\\\ e.\nf\",}\n```";
  for (size_t n = 0; n <= raw.size(); ++n) {
    const ParsedAnswer answer = ParseAnswer(raw.substr(0, n), 4);
    EXPECT_LE(WordCount(answer.text), 4) << n;
    EXPECT_TRUE(answer.parse == "json" || answer.parse == "fallback" || answer.parse == "failed");
  }
  EXPECT_EQ(ParseAnswer(raw, 4).text, "c {d} \\ e.");
}

}  // namespace
}  // namespace whyrec::gen
