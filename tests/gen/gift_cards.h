// Facts of the Gift Cards set for the chain: all items, and users with ratings and reviews.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/text_file.h"
#include "src/gen/isrf_chain.h"

namespace whyrec::gen {

struct GiftCards {
  std::vector<std::pair<int64_t, ItemFacts>> items;
  std::vector<std::pair<int64_t, UserFacts>> users;
};

inline std::filesystem::path GiftCardsFolder() {
  return std::filesystem::path(WHYREC_SOURCE_DIR) / "examples/gift-cards";
}

inline GiftCards ReadGiftCards() {
  GiftCards set;
  std::map<std::string, size_t> rows, user_rows;
  std::string line;
  for (LineReader reader(GiftCardsFolder() / "items.jsonl.gz"); reader.Next(line);) {
    const auto json = nlohmann::json::parse(line);
    rows[json["asin"]] = set.items.size();
    set.items.push_back({std::ssize(set.items),
                         {json["title"], json["brand"], json["category"], json["description"]}});
  }
  for (LineReader reader(GiftCardsFolder() / "reviews.jsonl.gz"); reader.Next(line);) {
    const auto json = nlohmann::json::parse(line);
    const auto [user, is_new] = user_rows.try_emplace(json["user"], set.users.size());
    if (is_new) set.users.push_back({std::ssize(set.users), {}});
    const ItemFacts& item = set.items[rows.at(json["asin"])].second;
    auto& purchases = set.users[user->second].second.purchases;
    purchases.insert(purchases.begin(),
                     {item.title, item.brand, item.categories, "", json["rating"], json["text"]});
    if (purchases.size() > kMostPurchases) purchases.pop_back();
  }
  return set;
}

}  // namespace whyrec::gen
