// Lines of a reviews file, and the filters: repeated (user, item) pairs, rare users and items.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/facts.h"
#include "src/data/catalogue.h"

namespace whyrec::data {

// Ids in the order of their first appearance.
struct Names {
  std::unordered_map<std::string, int32_t> index;
  std::vector<std::string> names;

  int32_t Of(const std::string& name);
};

struct ReviewLine {
  int32_t user, item;  // places in Names
  int64_t line;        // 0, 1, ... of the lines that can be used
  int64_t time;        // unix seconds
  float rating;        // 0: none given
  std::string text;
};

struct ReviewLines {
  Names users, items;
  std::vector<ReviewLine> all;
};

// The file that the configuration names. Without `texts`, reviews are left out.
ReviewLines ParseReviews(const config::CatalogueConfig& config, bool texts, Facts& facts);

// By user, then time, then line.
void SortByTime(ReviewLines& reviews);
// Of lines sorted by time, keeps a user's first review of each item. Returns how many were dropped.
int64_t DropRepeats(ReviewLines& reviews);
// Keeps users and items with enough reviews: counted once (SINGLE_PASS), or repeatedly until
// nothing is dropped. Returns the number of passes.
int FilterCore(const config::CoreFilter& core, ReviewLines& reviews);

}  // namespace whyrec::data
