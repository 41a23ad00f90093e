// ISRF's chain of texts about an item or a user: who would be pleased, who would be let down, and
// both views merged. Each step is one request; the summaries of earlier steps are part of its
// prompt.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/gen/ask.h"

namespace whyrec::gen {

// Most words of a summary that the prompts ask for.
inline constexpr int64_t kItemWords = 120, kItemFusedWords = 25;
inline constexpr int64_t kUserWords = 80, kUserFusedWords = 50;
inline constexpr size_t kMostPurchases = 20;

// Empty: absent ("None" in a prompt).
struct ItemFacts {
  std::string title, brand;
  std::vector<std::string> categories;  // general to special
  std::string description;
};

struct Purchase {
  std::string title, brand;
  std::vector<std::string> categories;
  std::string traits;  // the item's fused text
  float rating = 0;    // 1 to 5; 0: not rated
  std::string
      review;  // the user's own words; they and the rating are facts, not part of the prompt
};

struct UserFacts {
  std::vector<Purchase> purchases;  // latest first, at most kMostPurchases
};

struct ChainTexts {
  Answer pos, neg, fused;
};

// Our wording: the paper's examples are figures, and the public code differs from them. `pos` and
// `neg` are the summaries of the earlier steps; empty: "None".
std::string ItemPosPrompt(const std::string& domain, const ItemFacts& facts);
std::string ItemNegPrompt(const ItemFacts& facts, const std::string& pos);
std::string ItemFusedPrompt(const ItemFacts& facts, const std::string& pos, const std::string& neg);
std::string UserPosPrompt(const std::string& domain, const UserFacts& facts);
std::string UserNegPrompt(const UserFacts& facts, const std::string& pos);
std::string UserFusedPrompt(const UserFacts& facts, const std::string& pos, const std::string& neg);

// Three batches, one per step, over a block of (row of the catalogue, facts); answers in its order.
// `attempts`: how often each text is asked for until one is usable; after that it is made from the
// facts.
std::vector<ChainTexts> RunItemChain(Generator& generator, const std::string& domain,
                                     std::span<const std::pair<int64_t, ItemFacts>> block,
                                     int64_t attempts = 3);
std::vector<ChainTexts> RunUserChain(Generator& generator, const std::string& domain,
                                     std::span<const std::pair<int64_t, UserFacts>> block,
                                     int64_t attempts = 3);

}  // namespace whyrec::gen
