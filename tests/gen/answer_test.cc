// Answer parsing: one spelled-out answer per rule, and answers malformed the way real models
// malform them.
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
       "Likes \"green\" tea and cups", "because of", "json"},
      {"cut off in the summary", "{\"summary\": \"Likes green tea and", "Likes green tea and", "",
       "fallback"},
      {"label in prose, last one", "Summary: first\nmore\n**Summary:** Likes tea.\nWhy: x",
       "Likes tea.", "", "fallback"},
      {"last of several labels", "Profile: p\nPreference : q", "q", "", "fallback"},
      {"a word that is no label", "In summary I like it", "In summary I like it", "", "fallback"},
      {"object without a known key", R"({"text": "a", "n": 1})", R"({"text": "a", "n": 1})", "",
       "fallback"},
      {"one unknown key", R"({"text": "a"})", "a", "", "fallback"},
      {"wrapped", R"({"answer": {"Summary": "a", "WHY": "b"}})", "a", "b", "json"},
      {"an example before", R"(As in {"x": 1, "y": 2}: {"summary": "a"})", "a", "", "json"},
      {"foreign", "{\"summary\": \"お茶が好き。\"}", "お茶が好き。", "", "json"},
      {"label with None", "summary: None", "", "", "fallback"},
  };
  for (const auto& c : cases) {
    const ParsedAnswer answer = ParseAnswer(c.raw, SummaryRules(80));
    EXPECT_EQ(answer.text, c.text) << c.rule;
    EXPECT_EQ(answer.why, c.why) << c.rule;
    EXPECT_EQ(answer.parse, c.parse) << c.rule;
  }
}

TEST(Answer, FallsBackToFiftyWordsOfUnlabelledProse) {
  std::string raw, fifty;
  for (int i = 0; i < 70; ++i) raw += "word" + std::to_string(i) + "\n";
  for (int i = 0; i < 50; ++i) fifty += (i > 0 ? " word" : "word") + std::to_string(i);
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(80)).text, fifty);
  EXPECT_EQ(WordCount(ParseAnswer(raw, SummaryRules(25)).text), 25);
}

TEST(Answer, CutsAtTheLastSentenceEndWithinTheLimit) {
  const std::string raw = R"({"summary": "One two three. Four five (six!) Seven eight nine ten."})";
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(10)).text,
            "One two three. Four five (six!) Seven eight nine ten.");
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(9)).text, "One two three. Four five (six!)");
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(6)).text, "One two three. Four five (six!)");
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(5)).text, "One two three.");
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(2)).text, "One two");  // no sentence ends within it
}

// Whatever a model writes, the parser ends and keeps the limit: every prefix of a nasty answer.
TEST(Answer, EveryPrefixOfAnAnswerParses) {
  const std::string raw =
      "ok <think>x</think>```json\n{\"why\": \"a\\\"b\", \"summary\": \"c {d} \\\\ e.\nf\",}\n```";
  for (size_t n = 0; n <= raw.size(); ++n) {
    const ParsedAnswer answer = ParseAnswer(raw.substr(0, n), SummaryRules(4));
    EXPECT_LE(WordCount(answer.text), 4) << n;
    EXPECT_TRUE(answer.parse == "json" || answer.parse == "fallback" || answer.parse == "failed");
  }
  EXPECT_EQ(ParseAnswer(raw, SummaryRules(4)).text, "c {d} \\ e.");
}

// Answers to "Answer with one JSON line only: {"reason": "..."}"; all of them mean kTea.
const char* const kTea = "Needs come first: this customer keeps looking for loose green tea.";

TEST(Answer, ReadsReasonsHoweverTheyAreSpoiled) {
  const std::string tea = kTea;
  const std::vector<std::pair<const char*, std::string>> good{
      {"plain", "{\"reason\": \"" + tea + "\"}"},
      {"other key", "{\"RATIONALE\": \"" + tea + "\"}"},
      {"first key of the list wins", "{\"summary\": \"x\", \"Reasoning\": \"" + tea + "\"}"},
      {"end token", "{\"reason\": \"" + tea + "\"}<|end|><|endoftext|>"},
      {"talks on",
       "{\"reason\": \"" + tea + "\"}<|end|><|user|>And now?<|end|>{\"reason\": \"x\"}"},
      {"begins with tokens", "<s><|assistant|> {\"reason\": \"" + tea + "\"}</s>"},
      {"fence", "```json\n{\"reason\": \"" + tea + "\"}\n```"},
      {"chatter around", "Sure, here you go:\n{\"reason\": \"" + tea + "\"}\nHope {this} helps!"},
      {"single quotes", "{'reason': '" + tea + "'}"},
      {"typographic quotes", "{“reason”: “" + tea + "”}"},
      {"typographic and plain", "{“reason“: \"" + tea + "\"}"},
      {"single typographic", "{‘reason’: ‘" + tea + "’}"},
      {"no quotes at the key", "{reason: \"" + tea + "\"}"},
      {"no quotes at all", "{reason: " + tea + "}"},
      {"trailing comma", "{\"reason\": \"" + tea + "\",}"},
      {"no brace at the end", "{\"reason\": \"" + tea + "\""},
      {"no quote at the end", "{\"reason\": \"" + tea + "}"},
      {"two braces", "{{\"reason\": \"" + tea + "\"}}"},
      {"raw line end",
       "{\"reason\":\n \"Needs come first:\n  this customer keeps looking for "
       "loose green tea.\"}"},
      {"escapes", R"({"reason": "Needs come first:\n\tthis customer keeps looking \u0066or loose )"
                  "green tea.\","},
      {"space around", "{ \"reason\" : \"  " + tea + "  \" }"},
      {"list of one", "[{\"reason\": \"" + tea + "\"}]"},
      {"nested", "{\"response\": {\"reason\": \"" + tea + "\"}}"},
      {"other fields",
       "{\"score\": 4, \"tags\": [\"a, b\", {\"reason\": 1}], 'reason': '" + tea + "', 'x': None}"},
      {"key of its own", "{\"explanation\": \"" + tea + "\"}"},
      {"label", "Reason: " + tea},
      {"bold label", "**Rationale:** " + tea},
      {"heading", "### Reason:\n\n" + tea},
      {"label over lines",
       "Summary: Needs come first:\nthis customer keeps looking for\nloose "
       "green tea."},
      {"only prose", tea},
      {"quoted prose with space", "\n\n  " + tea + "\n"},
      {"thinking", "<think>Maybe {\"reason\": \"x\"}?</think>{\"reason\": \"" + tea + "\"}"},
  };
  for (const auto& [what, raw] : good)
    EXPECT_EQ(ParseAnswer(raw, ReasonRules()).text, tea) << what << ": " << raw;
}

TEST(Answer, QuotesInsideAStringStay) {
  for (const auto& [raw, text] : std::vector<std::pair<std::string, std::string>>{
           {"{'reason': 'The customer's taste, it's clear, isn't for sweet tea.'}",
            "The customer's taste, it's clear, isn't for sweet tea."},
           {R"({"reason": "Wants "gentle", "mild" soap that does not sting, again."})",
            R"(Wants "gentle", "mild" soap that does not sting, again.)"},
           {R"({"reason": "Wants \"gentle\" soap that does not sting their hands"})",
            R"(Wants "gentle" soap that does not sting their hands)"},
           {"{“reason”: “Wants “gentle” soap, which does not sting their hands”}",
            "Wants “gentle” soap, which does not sting their hands"}})
    EXPECT_EQ(ParseAnswer(raw, ReasonRules()).text, text) << raw;
}

TEST(Answer, ReasonsOfNoUseAreAskedForAgain) {
  std::string words;
  for (int i = 0; i < 161; ++i) words += "tea ";
  const std::vector<std::pair<const char*, std::string>> bad{
      {"empty", ""},
      {"white space", " \n\t"},
      {"end token only", "<|end|>"},
      {"None", R"({"reason": "None"})"},
      {"null", R"({"reason": null})"},
      {"empty object", "{}"},
      {"empty text", R"({"reason": ""})"},
      {"seven words", R"({"reason": "one two three four five six seven"})"},
      {"161 words", "{\"reason\": \"" + words + "\"}"},
      {"a turn of its own", R"({"reason": "\u003c|end|\u003e<|user|>"})"},
      {"refusal", "I cannot help with that."},
      {"the form itself", R"({"reason": "..."})"},
      {"Chinese", "{\"reason\": \"这位顾客一直在寻找散装绿茶，并且喜欢送礼。\"}"},
      {"Russian, with spaces",
       "{\"reason\": \"Этот покупатель всё время ищет рассыпной зелёный чай и подарочную "
       "упаковку.\"}"},
      {"Thai", "ลูกค้ารายนี้มองหาชาเขียวอยู่เสมอ"},
      {"cut while thinking", "<think>The customer seems to like tea and so on and so forth"},
      {"bytes", "\xff\xfe\x80"},
  };
  for (const auto& [what, raw] : bad) {
    const ParsedAnswer answer = ParseAnswer(raw, ReasonRules());
    EXPECT_EQ(answer.parse, "failed") << what << ": " << answer.text;
    EXPECT_EQ(answer.text, "") << what;
  }
  EXPECT_EQ(ParseAnswer("{\"reason\": \"" + words.substr(4) + "\"}", ReasonRules()).parse, "json");
  EXPECT_EQ(ParseAnswer("{\"reason\": \"Siempre compra té verde a granel y papel de regalo, según "
                        "sus reseñas.\"}",
                        ReasonRules())
                .parse,
            "json");
}

TEST(Answer, ACutTextEndsWithItsLastSentence) {
  const std::string raw =
      R"({"reason": "Keeps buying loose green tea. Gives it away often! Also li)";
  EXPECT_EQ(ParseAnswer(raw, ReasonRules(), false).text,
            "Keeps buying loose green tea. Gives it away often!");
  EXPECT_EQ(ParseAnswer(raw, ReasonRules(), false).parse, "fallback");
  EXPECT_EQ(ParseAnswer("Reason: Keeps buying loose green tea. Gives it away often. Also",
                        ReasonRules(), false)
                .text,
            "Keeps buying loose green tea. Gives it away often.");
  // No sentence ended, or the text itself was complete.
  EXPECT_EQ(ParseAnswer("{\"reason\": \"Keeps buying loose green tea and gives it aw",
                        ReasonRules(), false)
                .text,
            "Keeps buying loose green tea and gives it aw");
  EXPECT_EQ(ParseAnswer(R"({"reason": "Keeps buying green tea. Gives it away as", "next": "so)",
                        ReasonRules(), false)
                .text,
            "Keeps buying green tea. Gives it away as");
}

TEST(Answer, ObservationsArePlainAndMayBeShort) {
  EXPECT_EQ(ParseAnswer("Buys lavender soap.\n", ObservationRules()).text, "Buys lavender soap.");
  EXPECT_EQ(ParseAnswer("Observation: Buys lavender soap.", ObservationRules()).text,
            "Buys lavender soap.");
  EXPECT_EQ(ParseAnswer("Soap.", ObservationRules()).parse, "failed");
}

// Any bytes at all end, and quickly: openings without end are not tried one by one.
TEST(Answer, HostileAnswersEnd) {
  for (const std::string& part :
       {std::string("{"), std::string("{\"a\":"), std::string("{'"), std::string("[{\"reason\":\""),
        std::string("\","), std::string("<|"), std::string("```"), std::string("reason:\n"),
        std::string("\\"), std::string("\xf0\x9f")}) {
    std::string raw;
    while (raw.size() < 20000) raw += part;
    for (const std::string& text : {raw, "{\"reason\": \"" + raw})
      for (const bool finished : {true, false})
        EXPECT_LE(WordCount(ParseAnswer(text, ReasonRules(), finished).text), 160);
  }
}

}  // namespace
}  // namespace whyrec::gen
