// Catalogue: a data set in memory: users, items, time-ordered interactions, ratings and texts. It
// includes the interactions that will be held out, so only the split, the candidates and the audit
// may use it; code that builds prompts, texts, graphs and negatives gets a TrainView (split.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/base/ragged.h"

namespace whyrec::data {

struct Item {
  std::string id;     // in the source (ASIN)
  std::string title;  // falls back to text_id; may be empty
  std::string brand;
  std::vector<std::string> categories;  // categories or attributes
  std::string description;
  bool untitled = false;  // the title is made of brand and category; never drawn as a negative
};

// A sentence of a review on its item.
struct ExplanationRecord {
  int64_t user, item;  // rows
  std::string text;
};

struct Catalogue {
  std::string dataset;
  std::string domain;
  std::vector<std::string> users;  // ids in the source; row u
  std::vector<Item> items;  // row i, numbered by first appearance (or as the folder numbers them)
  // Item row -> place of its first appearance in the source; empty: the order of the rows.
  std::vector<int64_t> appearance;
  Ragged<int64_t> histories;  // user row -> item rows, oldest first
  // Parallel to histories.values; empty when the source has none.
  std::vector<int64_t> times;  // unix seconds
  std::vector<float> ratings;  // 0: none given
  std::vector<std::string> reviews;
  Ragged<int64_t> given_negatives;  // negative.txt: item rows per user; no rows when absent
  std::vector<ExplanationRecord> explanations[3];  // explanation.json: train, val, test

  int64_t user_count() const { return static_cast<int64_t>(users.size()); }
  int64_t item_count() const { return static_cast<int64_t>(items.size()); }
};

// Reads the configured source (a P5 folder, reviews and items, or a planted catalogue), orders ties
// and filters. Error(kData) with file:line and what to do. `facts` receives counts and rules.
Catalogue ReadSource(const config::CatalogueConfig& config, Facts& facts);
Catalogue ReadP5Folder(const config::CatalogueConfig& config, Facts& facts);
Catalogue ReadReviews(const config::CatalogueConfig& config, Facts& facts);

// Positions of one user in a new order: those of equal time stamps (adjacent in `times`) are
// shuffled among themselves, the others stay. A function of seed and user row.
std::vector<int64_t> ShuffledTies(std::span<const int64_t> times, uint64_t seed, int64_t user);

void Save(const Catalogue& catalogue, const std::filesystem::path& h5);
Catalogue LoadCatalogue(const std::filesystem::path& h5);

}  // namespace whyrec::data
