#include "src/gen/isrf_chain.h"

#include "src/base/error.h"
#include "src/gen/facts_json.h"

namespace whyrec::gen {
namespace {

using Json = nlohmann::ordered_json;  // a prompt shows fields in the order of the specification

std::string OrNone(const std::string& text) { return text.empty() ? "None" : text; }

Json OrNone(const std::vector<std::string>& list) {
  return list.empty() ? Json("None") : Json(list);
}

std::string Dump(const Json& json) {  // bytes that are no UTF-8 become U+FFFD
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Reply(int64_t summary_words, int64_t why_words) {
  return Cat("Reply with JSON only: {\"summary\": text of at most ", summary_words,
             " words, \"why\": text of at most ", why_words, " words}.");
}

std::string ItemRecord(const ItemFacts& facts) {
  return "\nRECORD: " + Dump({{"title", OrNone(facts.title)},
                              {"brand", OrNone(facts.brand)},
                              {"categories", OrNone(facts.categories)},
                              {"description", OrNone(facts.description)}});
}

std::string Purchases(const UserFacts& facts) {
  WR_CHECK(facts.purchases.size() <= kMostPurchases, facts.purchases.size());
  Json list = Json::array();
  for (const auto& purchase : facts.purchases)
    list.push_back({{"title", OrNone(purchase.title)},
                    {"brand", OrNone(purchase.brand)},
                    {"categories", OrNone(purchase.categories)},
                    {"traits", OrNone(purchase.traits)}});
  return "\nPURCHASES: " + Dump(list);
}

// The same for items and users: `prompt_of(step, facts, texts so far)`.
template <typename Facts, typename PromptOf>
std::vector<ChainTexts> RunChain(Generator& generator, const std::string& domain, const char* kind,
                                 std::span<const std::pair<int64_t, Facts>> block,
                                 PromptOf prompt_of) {
  constexpr std::pair<const char*, Answer ChainTexts::*> kSteps[] = {
      {"pos", &ChainTexts::pos}, {"neg", &ChainTexts::neg}, {"fused", &ChainTexts::fused}};
  std::vector<ChainTexts> chains(block.size());
  for (const auto& [step, member] : kSteps) {
    std::vector<Request> requests;
    for (size_t i = 0; i < block.size(); ++i) {
      const auto& [id, facts] = block[i];
      const Json carried{{"domain", domain}, {"facts", nlohmann::json(facts)}};
      requests.push_back({kind, id, step, prompt_of(member, facts, chains[i]), Dump(carried)});
    }
    auto answers = generator.Generate(requests);
    WR_CHECK(answers.size() == block.size(), answers.size(), " answers of ", block.size());
    for (size_t i = 0; i < block.size(); ++i) chains[i].*member = std::move(answers[i]);
  }
  return chains;
}

}  // namespace

std::string ItemPosPrompt(const std::string& domain, const ItemFacts& facts) {
  return "You profile " + domain +
         " products. Read the product record and describe the shoppers it would please: needs, "
         "habits, taste, budget, use cases.\n" +
         Reply(kItemWords, 80) + " Use \"None\" if the record is empty." + ItemRecord(facts);
}

std::string ItemNegPrompt(const ItemFacts& facts, const std::string& pos) {
  return "Same product, opposite question. Given the record and the shoppers it pleases, describe "
         "who would be let down by it and for which trait.\n" +
         Reply(kItemWords, 80) + ItemRecord(facts) + "\nPLEASES: " + OrNone(pos);
}

std::string ItemFusedPrompt(const ItemFacts& facts, const std::string& pos,
                            const std::string& neg) {
  return "Merge the evidence into the traits that decide whether somebody wants this product: "
         "strengths first, then limits.\n" +
         Reply(kItemFusedWords, 50) + ItemRecord(facts) + "\nPLEASES: " + OrNone(pos) +
         "\nLETS DOWN: " + OrNone(neg);
}

std::string UserPosPrompt(const std::string& domain, const UserFacts& facts) {
  return "You profile " + domain +
         " shoppers. The list holds purchases, latest first; weigh recent ones more. Describe what "
         "this shopper looks for.\n" +
         Reply(kUserWords, 80) + Purchases(facts);
}

std::string UserNegPrompt(const UserFacts& facts, const std::string& pos) {
  return "From the same list and the stated interests, describe what this shopper would likely "
         "skip.\n" +
         Reply(kUserWords, 80) + Purchases(facts) + "\nINTERESTS: " + OrNone(pos);
}

std::string UserFusedPrompt(const UserFacts& facts, const std::string& pos,
                            const std::string& neg) {
  return "Condense both views into the shopper's lasting interests and limits.\n" +
         Reply(kUserFusedWords, 80) + Purchases(facts) + "\nINTERESTS: " + OrNone(pos) +
         "\nSKIPS: " + OrNone(neg);
}

std::vector<ChainTexts> RunItemChain(Generator& generator, const std::string& domain,
                                     std::span<const std::pair<int64_t, ItemFacts>> block) {
  return RunChain(generator, domain, "item", block,
                  [&](auto step, const ItemFacts& facts, const ChainTexts& texts) {
                    if (step == &ChainTexts::pos) return ItemPosPrompt(domain, facts);
                    if (step == &ChainTexts::neg) return ItemNegPrompt(facts, texts.pos.text);
                    return ItemFusedPrompt(facts, texts.pos.text, texts.neg.text);
                  });
}

std::vector<ChainTexts> RunUserChain(Generator& generator, const std::string& domain,
                                     std::span<const std::pair<int64_t, UserFacts>> block) {
  return RunChain(generator, domain, "user", block,
                  [&](auto step, const UserFacts& facts, const ChainTexts& texts) {
                    if (step == &ChainTexts::pos) return UserPosPrompt(domain, facts);
                    if (step == &ChainTexts::neg) return UserNegPrompt(facts, texts.pos.text);
                    return UserFusedPrompt(facts, texts.pos.text, texts.neg.text);
                  });
}

}  // namespace whyrec::gen
