// How many users, items and events a review catalogue has under each filter that a paper may have
// meant (thresholds 4 and 5, repeats kept or not, one pass or iterated), and whether a run's
// catalogue matches PULSE's Table 2.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/data/audit.h"
#include "src/data/catalogue.h"

namespace whyrec::data {

struct CatalogueCounts {
  int32_t threshold = 0;  // least reviews of a user and of an item; 0: the catalogue as it is
  bool repeats_kept = false, iterated = false;
  int64_t users = 0, items = 0, events = 0;
  int64_t short_users = 0;  // with fewer than three events, all of which are training
  double mean_train = 0;    // training events of a user

  std::string Rule() const;  // ">= 5, repeats kept, single pass"
};

// The eight rules over the reviews file; none without one.
std::vector<CatalogueCounts> CountReport(const config::CatalogueConfig& config);
CatalogueCounts CountsOf(const Catalogue& catalogue);

// A table for people, and the same figures for audit.json (check: the rule).
std::string CountTable(const std::vector<CatalogueCounts>& counts);
std::vector<AuditValue> CountValues(const std::vector<CatalogueCounts>& counts);

// PULSE's Table 2.
struct PublishedCounts {
  std::string dataset;
  int64_t users, items, events;
  double mean_train;
  double tolerance;  // relative, of the three counts
};
// By the data set's name, without regard to case and to what is no letter; null: not in the table.
const PublishedCounts* FindPublishedCounts(const std::string& dataset);
// What differs, or nothing.
std::optional<std::string> DataMismatch(const PublishedCounts& published,
                                        const CatalogueCounts& counts);

}  // namespace whyrec::data
