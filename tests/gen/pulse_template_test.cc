// Template reasons carry what the reviews keep saying, and differ from node to node.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "src/base/error.h"
#include "src/gen/facts_json.h"
#include "src/gen/generator.h"
#include "src/gen/review_words.h"
#include "src/gen/words.h"
#include "src/text/unicode.h"
#include "tests/gen/evidence.h"

namespace whyrec::gen {
namespace {

std::string TextOf(const Evidence& evidence, const std::string& step,
                   const std::string& target = "") {
  nlohmann::json facts{{"evidence", evidence}};
  if (step == "positive") facts["target"] = Target{target};
  const Request request{evidence.split, evidence.user, step, "",
                        facts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  const std::string raw = MakeTemplate(3)->Generate({request}, {}).at(0).text;
  if (step.starts_with("chain/")) return raw;
  const auto json = nlohmann::json::parse(raw);
  return json.at(step == "positive" ? "rationale" : "reason");
}

// Of a chain: with the thoughts before.
std::string Whole(const Evidence& evidence, const std::string& step) {
  const std::string text = TextOf(evidence, step), before = step.substr(0, step.rfind('/'));
  return step.starts_with("chain/") && before != "chain" ? Whole(evidence, before) + " " + text
                                                         : text;
}

std::vector<std::string> Steps(int branch) {
  std::vector<std::string> steps{"base"};
  for (const char* root : {"base", "chain"})
    for (int i = 0; i < branch; ++i) {
      steps.push_back(Cat(root, "/", i));
      for (int j = 0; j < branch; ++j) {
        steps.push_back(Cat(root, "/", i, "/", j));
        for (int k = 0; k < branch; ++k) steps.push_back(Cat(root, "/", i, "/", j, "/", k));
      }
    }
  return steps;
}

TEST(ReviewWords, RecurringOnesComeFirst) {
  Evidence evidence{"train", 0, {}, {}};
  evidence.history = {
      {"Gift Card A", 5, "Great gift card! I love the velvet pouch, velvet velvet."},
      {"Gift Card B", 4, "Lavender smell. 100 points."},
      {"Gift Card C", 5, "Lavender's lovely; the pouch too."}};
  const auto words = RecurringWords(evidence);
  ASSERT_GE(words.size(), 3u);
  EXPECT_EQ(words[0], "lavender");
  EXPECT_EQ(words[1], "pouch");
  EXPECT_EQ(words[2], "velvet");
  for (const char* no : {"gift", "card", "great", "love", "the", "100"})
    EXPECT_EQ(std::count(words.begin(), words.end(), no), 0) << no;
  EXPECT_EQ(TellingSentences(evidence, {"pouch"}, 1),
            (std::vector<std::string>{"Lavender's lovely; the pouch too.",
                                      "I love the velvet pouch, velvet velvet."}));
  for (Event& event : evidence.history) event.review.clear();
  EXPECT_EQ(RecurringWords(evidence).at(0), "card") << "titles, where there are no reviews";
  EXPECT_TRUE(RecurringWords({}).empty());
}

TEST(PulseTemplate, NodesNameTheTasteAndDiffer) {
  for (int64_t user = 0; user < 30; ++user) {
    const std::string taste = user % 2 == 0 ? "lavender" : "walnut";
    const Evidence evidence = EvidenceOf(user, taste);
    std::set<std::string> texts;
    for (const std::string& step : Steps(3)) {
      const std::string text = Whole(evidence, step);
      EXPECT_TRUE(texts.insert(step.substr(0, 5) + text).second) << step << ": " << text;
      EXPECT_GE(WordCount(text), step.starts_with("chain") ? 3 : 8) << text;
      EXPECT_LE(WordCount(text), 150) << text;
      EXPECT_NE(text.find(taste), std::string::npos) << step << ": " << text;
    }
    const std::string positive = TextOf(evidence, "positive", "Fresh Walnut Bar");
    EXPECT_NE(positive.find(taste), std::string::npos) << positive;
    EXPECT_EQ(positive.find("Walnut Bar"), std::string::npos);
  }
  std::printf("base: %s\n2/0: %s\n", TextOf(EvidenceOf(1), "base").c_str(),
              TextOf(EvidenceOf(1), "base/2/0").c_str());
}

TEST(PulseTemplate, ReasonsComeFromTheFactsAndTheSeedAlone) {
  EXPECT_EQ(TextOf(EvidenceOf(1), "base/0"), TextOf(EvidenceOf(1), "base/0"));
  EXPECT_NE(TextOf(EvidenceOf(1), "base"), TextOf(EvidenceOf(2), "base"));
}

TEST(PulseTemplate, PoorEvidenceStillGivesDistinctTexts) {
  std::vector<Evidence> poor(4, {"test", 3, {}, {}});
  poor[1].history = {{"", 0, ""}};
  poor[2].history = {{"Only Title", 2, "ok"}};
  poor[3].history = {{"\xe8\x8c\xb6", 5, "\xff\xfe 很好 \x80"}};
  for (const Evidence& evidence : poor) {
    std::set<std::string> texts;
    for (const std::string& step : Steps(3)) {
      const std::string text = Whole(evidence, step);
      EXPECT_TRUE(texts.insert(step.substr(0, 5) + text).second) << step << ": " << text;
      EXPECT_TRUE(text::IsUtf8(text));
    }
  }
}

}  // namespace
}  // namespace whyrec::gen
