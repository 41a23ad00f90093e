// The chain against spelled-out prompts, and the template back end on facts whose texts are spelled
// out and on the Gift Cards set.
#include "src/gen/isrf_chain.h"

#include <set>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/gen/words.h"
#include "tests/gen/gift_cards.h"

namespace whyrec::gen {
namespace {

using Items = std::vector<std::pair<int64_t, ItemFacts>>;
using UserRows = std::vector<std::pair<int64_t, UserFacts>>;

const ItemFacts kBrush{"Travel \"Fan\" Brush",
                       "Dico",
                       {"Makeup", "Brushes"},
                       "A soft brush for powder.\nIt is not washable."};

// Keeps the requests; answers with the step's name.
class Recorder final : public Generator {
 public:
  std::string name() const override { return "recorder"; }
  std::vector<Reply> Generate(const std::vector<Request>& requests,
                              const TextSampling& sampling) override {
    batches.push_back(requests);
    temperatures.push_back(sampling.temperature);
    std::vector<Reply> replies(requests.size());
    for (size_t i = 0; i < requests.size(); ++i)
      replies[i].text = requests[i].id == kSilent ? ""
                                                  : Cat("{\"summary\": \"", requests[i].step,
                                                        " of ", requests[i].id, "\"}");
    return replies;
  }
  static constexpr int64_t kSilent = 99;  // nothing is said about it
  std::vector<std::vector<Request>> batches;
  std::vector<double> temperatures;
};

TEST(IsrfChain, PromptsShowTheRecordEscapedAndNoneForWhatIsAbsent) {
  EXPECT_EQ(
      ItemPosPrompt("beauty", kBrush),
      "You profile beauty products. Read the product record and describe the shoppers it would "
      "please: needs, habits, taste, budget, use cases.\n"
      "Reply with JSON only: {\"summary\": text of at most 120 words, \"why\": text of at most 80 "
      "words}. Use \"None\" if the record is empty.\n"
      "RECORD: {\"title\":\"Travel \\\"Fan\\\" Brush\",\"brand\":\"Dico\",\"categories\":"
      "[\"Makeup\",\"Brushes\"],\"description\":\"A soft brush for powder.\\nIt is not "
      "washable.\"}");
  EXPECT_EQ(
      ItemFusedPrompt({}, "", "few"),
      "Merge the evidence into the traits that decide whether somebody wants this product: "
      "strengths first, then limits.\n"
      "Reply with JSON only: {\"summary\": text of at most 25 words, \"why\": text of at most 50 "
      "words}.\n"
      "RECORD: {\"title\":\"None\",\"brand\":\"None\",\"categories\":\"None\",\"description\":"
      "\"None\"}\nPLEASES: None\nLETS DOWN: few");
  EXPECT_EQ(
      UserFusedPrompt({{{"Fan", "", {"Makeup"}, "soft", 2, "Sheds."}}}, "soft hair", ""),
      "Condense both views into the shopper's lasting interests and limits.\n"
      "Reply with JSON only: {\"summary\": text of at most 50 words, \"why\": text of at most 80 "
      "words}.\n"
      "PURCHASES: [{\"title\":\"Fan\",\"brand\":\"None\",\"categories\":[\"Makeup\"],\"traits\":"
      "\"soft\"}]\nINTERESTS: soft hair\nSKIPS: None");
}

TEST(IsrfChain, EachStepIsOneBatchAndCarriesTheSummariesBefore) {
  Recorder recorder;
  const Items block{{7, kBrush}, {9, {}}};
  const auto chains = RunItemChain(recorder, "beauty", block);
  ASSERT_EQ(recorder.batches.size(), 3u);
  for (const auto& batch : recorder.batches) EXPECT_EQ(batch.size(), 2u);
  EXPECT_EQ(recorder.batches[0][1].id, 9);
  EXPECT_EQ(recorder.batches[0][0].prompt, ItemPosPrompt("beauty", kBrush));
  EXPECT_EQ(recorder.batches[1][0].prompt, ItemNegPrompt(kBrush, "pos of 7"));
  EXPECT_EQ(recorder.batches[2][1].prompt, ItemFusedPrompt({}, "pos of 9", "neg of 9"));
  EXPECT_EQ(chains[1].fused.text, "fused of 9");

  const UserRows users{{3, {{{"Fan", "", {}, "", 0, ""}}}}};
  EXPECT_EQ(RunUserChain(recorder, "toy", users)[0].neg.text, "neg of 3");
  EXPECT_EQ(recorder.batches[4][0].kind, "user");
  EXPECT_EQ(recorder.batches[4][0].step, "neg");
  EXPECT_EQ(recorder.batches[4][0].prompt, UserNegPrompt(users[0].second, "pos of 3"));
}

TEST(IsrfChain, AsksAgainColderAndThenWritesFromTheFacts) {
  Recorder recorder;
  const Items block{{7, kBrush}, {Recorder::kSilent, kBrush}};
  const auto chains = RunItemChain(recorder, "beauty", block, 3);
  ASSERT_EQ(recorder.batches.size(), 9u);
  EXPECT_EQ(recorder.batches[0].size(), 2u);
  EXPECT_EQ(recorder.batches[1].size(), 1u);
  EXPECT_EQ(recorder.batches[2][0].Name(), "item 99 pos #2");
  EXPECT_EQ((std::vector<double>(recorder.temperatures.begin(), recorder.temperatures.begin() + 4)),
            (std::vector<double>{0.6, 0.3, 0, 0.6}));
  EXPECT_EQ(chains[0].pos.parse, "json");
  EXPECT_EQ(chains[1].pos.parse, "fallback text");
  EXPECT_EQ(chains[1].pos.text, RunItemChain(*MakeTemplate(), "beauty", block)[1].pos.text);
  EXPECT_EQ(recorder.batches[3][1].prompt, ItemNegPrompt(kBrush, chains[1].pos.text));
}

TEST(IsrfChain, BytesThatAreNoUtf8DoNotStopIt) {
  const auto chains =
      RunItemChain(*MakeTemplate(), "toy", Items{{0, {"Bad \xff title", "", {}, ""}}});
  EXPECT_EQ(chains[0].fused.text, "Bad \uFFFD title.");
}

TEST(IsrfChain, RefusesMoreThanTwentyPurchases) {
  UserFacts facts;
  facts.purchases.resize(21);
  EXPECT_THROW(UserPosPrompt("toy", facts), Error);
}

TEST(Template, WritesItemsFromMetadata) {
  const auto chain = RunItemChain(*MakeTemplate(), "beauty", Items{{0, kBrush}})[0];
  EXPECT_EQ(
      chain.pos.text,
      "Travel \"Fan\" Brush by Dico would please shoppers who look for Brushes and Makeup. A soft "
      "brush for powder. It is not washable.");
  EXPECT_EQ(
      chain.neg.text,
      "Travel \"Fan\" Brush by Dico would let down shoppers who want something other than Brushes "
      "or trust another brand than Dico. It is not washable.");
  EXPECT_EQ(
      chain.fused.text,
      "Travel \"Fan\" Brush by Dico, for Brushes and Makeup. A soft brush for powder. It is not "
      "washable.");
  EXPECT_EQ(chain.fused.parse, "json");
  EXPECT_EQ(chain.fused.model, "template");
  EXPECT_EQ(chain.fused.prompt_sha256,
            Sha256Of(ItemFusedPrompt(kBrush, chain.pos.text, chain.neg.text)));
  EXPECT_EQ(RunItemChain(*MakeTemplate(), "beauty", Items{{0, {}}})[0].pos.text, "");
}

TEST(Template, WritesUsersFromPurchasesRatingsAndReviews) {
  const UserFacts facts{
      {{"Red Lipstick", "Opi", {"Makeup", "Lips"}, "", 5, "I love this bright colour!"},
       {"Fan Brush", "Dico", {"Tools"}, "", 2, "It sheds hair everywhere. Sad."},
       {"Nail Lacquer", "Opi", {"Makeup", "Nails"}, "", 4, "Ok"}}};
  const auto chain = RunUserChain(*MakeTemplate(), "beauty", UserRows{{0, facts}})[0];
  EXPECT_EQ(chain.pos.text,
            "This shopper looks for Makeup, Lips and Nails, often from Opi. Recent choices are Red "
            "Lipstick and Nail Lacquer. What pleased, in own words: I love this bright colour!");
  EXPECT_EQ(
      chain.neg.text,
      "This shopper was let down by Fan Brush. The complaints: It sheds hair everywhere. This "
      "shopper rarely buys Nails and Lips and would likely skip what strays from Makeup, Lips and "
      "Nails.");
  EXPECT_EQ(
      chain.fused.text,
      "This shopper keeps to Makeup, Lips and Nails, often from Opi. Was let down by Fan Brush. "
      "Recent choices are Red Lipstick and Nail Lacquer. I love this bright colour.");
  EXPECT_EQ(RunUserChain(*MakeTemplate(), "beauty", UserRows{{0, {}}})[0].fused.text, "");
}

// Every text is there, keeps its limit, and differs where the facts differ.
TEST(Template, GiftCardsTextsKeepTheLimitsAndDiffer) {
  const GiftCards set = ReadGiftCards();
  const auto generator = MakeTemplate();
  std::set<std::string> titles, item_texts, user_texts;
  auto check = [](const ChainTexts& chain, int64_t words, int64_t fused_words) {
    for (const auto* answer : {&chain.pos, &chain.neg, &chain.fused}) {
      EXPECT_FALSE(answer->text.empty());
      EXPECT_LE(WordCount(answer->text), answer == &chain.fused ? fused_words : words)
          << answer->text;
    }
  };
  for (const auto& chain : RunItemChain(*generator, "gift card", std::span(set.items))) {
    check(chain, kItemWords, kItemFusedWords);
    item_texts.insert(chain.fused.text);
  }
  for (const auto& chain : RunUserChain(*generator, "gift card", std::span(set.users))) {
    check(chain, kUserWords, kUserFusedWords);
    user_texts.insert(chain.fused.text);
  }
  for (const auto& [id, facts] : set.items) titles.insert(FirstWords(facts.title, 12));
  EXPECT_GE(item_texts.size(), titles.size() * 99 / 100);
  EXPECT_GE(user_texts.size(), set.users.size() * 99 / 100);
}

}  // namespace
}  // namespace whyrec::gen
