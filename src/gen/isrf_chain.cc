#include "src/gen/isrf_chain.h"

#include <algorithm>
#include <tuple>

#include "src/base/error.h"
#include "src/gen/facts_json.h"

namespace whyrec::gen {
namespace {

using Json = nlohmann::ordered_json;  // prompts show fields in the order in which we add them

std::string OrNone(const std::string& text) { return text.empty() ? "None" : text; }

Json OrNone(const std::vector<std::string>& list) {
  return list.empty() ? Json("None") : Json(list);
}

std::string Dump(const Json& json) {  // bytes that are no UTF-8 become U+FFFD
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ReplyForm(int64_t summary_words, int64_t why_words) {
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

// The temperature falls with every attempt, so that a later answer is more likely to keep to the
// requested form. max_new_tokens leaves room for a reasoning model's thoughts before the answer.
TextSampling DrawOf(int64_t attempt) {
  constexpr double kTemperatures[] = {0.6, 0.3, 0};
  return {.temperature = kTemperatures[std::min<int64_t>(attempt, 2)], .max_new_tokens = 1024};
}

// The same for items and users: `prompt_of(step, facts, texts so far)`. `limits`: words of a view,
// and of the fused text.
template <typename Known, typename PromptOf>
std::vector<ChainTexts> RunChain(Generator& generator, const std::string& domain, const char* kind,
                                 std::span<const std::pair<int64_t, Known>> block, int64_t attempts,
                                 std::pair<int64_t, int64_t> limits, PromptOf prompt_of) {
  const std::tuple<const char*, Answer ChainTexts::*, int64_t> steps[] = {
      {"pos", &ChainTexts::pos, limits.first},
      {"neg", &ChainTexts::neg, limits.first},
      {"fused", &ChainTexts::fused, limits.second}};
  std::vector<ChainTexts> chains(block.size());
  for (const auto& [step, member, words] : steps) {
    std::vector<Request> requests;
    for (size_t i = 0; i < block.size(); ++i) {
      const auto& [id, facts] = block[i];
      const Json carried{{"domain", domain}, {"facts", nlohmann::json(facts)}};
      requests.push_back({kind, id, step, prompt_of(member, facts, chains[i]), Dump(carried)});
    }
    auto answers = Ask(generator, requests,
                       {.rules = SummaryRules(words), .attempts = attempts, .draws = DrawOf});
    for (size_t i = 0; i < block.size(); ++i) chains[i].*member = std::move(answers[i]);
  }
  return chains;
}

}  // namespace

std::string ItemPosPrompt(const std::string& domain, const ItemFacts& facts) {
  return "You profile " + domain +
         " products. Read the product record and describe the shoppers it would please: needs, "
         "habits, taste, budget, use cases.\n" +
         ReplyForm(kItemWords, 80) + " Use \"None\" if the record is empty." + ItemRecord(facts);
}

std::string ItemNegPrompt(const ItemFacts& facts, const std::string& pos) {
  return "Same product, opposite question. Given the record and the shoppers it pleases, describe "
         "who would be let down by it and for which trait.\n" +
         ReplyForm(kItemWords, 80) + ItemRecord(facts) + "\nPLEASES: " + OrNone(pos);
}

std::string ItemFusedPrompt(const ItemFacts& facts, const std::string& pos,
                            const std::string& neg) {
  return "Merge the evidence into the traits that decide whether somebody wants this product: "
         "strengths first, then limits.\n" +
         ReplyForm(kItemFusedWords, 50) + ItemRecord(facts) + "\nPLEASES: " + OrNone(pos) +
         "\nLETS DOWN: " + OrNone(neg);
}

std::string UserPosPrompt(const std::string& domain, const UserFacts& facts) {
  return "You profile " + domain +
         " shoppers. The list holds purchases, latest first; weigh recent ones more. Describe what "
         "this shopper looks for.\n" +
         ReplyForm(kUserWords, 80) + Purchases(facts);
}

std::string UserNegPrompt(const UserFacts& facts, const std::string& pos) {
  return "From the same list and the stated interests, describe what this shopper would likely "
         "skip.\n" +
         ReplyForm(kUserWords, 80) + Purchases(facts) + "\nINTERESTS: " + OrNone(pos);
}

std::string UserFusedPrompt(const UserFacts& facts, const std::string& pos,
                            const std::string& neg) {
  return "Condense both views into the shopper's lasting interests and limits.\n" +
         ReplyForm(kUserFusedWords, 80) + Purchases(facts) + "\nINTERESTS: " + OrNone(pos) +
         "\nSKIPS: " + OrNone(neg);
}

std::vector<ChainTexts> RunItemChain(Generator& generator, const std::string& domain,
                                     std::span<const std::pair<int64_t, ItemFacts>> block,
                                     int64_t attempts) {
  return RunChain(generator, domain, "item", block, attempts, {kItemWords, kItemFusedWords},
                  [&](auto step, const ItemFacts& facts, const ChainTexts& texts) {
                    if (step == &ChainTexts::pos) return ItemPosPrompt(domain, facts);
                    if (step == &ChainTexts::neg) return ItemNegPrompt(facts, texts.pos.text);
                    return ItemFusedPrompt(facts, texts.pos.text, texts.neg.text);
                  });
}

std::vector<ChainTexts> RunUserChain(Generator& generator, const std::string& domain,
                                     std::span<const std::pair<int64_t, UserFacts>> block,
                                     int64_t attempts) {
  return RunChain(generator, domain, "user", block, attempts, {kUserWords, kUserFusedWords},
                  [&](auto step, const UserFacts& facts, const ChainTexts& texts) {
                    if (step == &ChainTexts::pos) return UserPosPrompt(domain, facts);
                    if (step == &ChainTexts::neg) return UserNegPrompt(facts, texts.pos.text);
                    return UserFusedPrompt(facts, texts.pos.text, texts.neg.text);
                  });
}

}  // namespace whyrec::gen
