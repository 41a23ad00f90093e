// Rules without any learning that look at item and user numbers only. Whatever they find has leaked
// through the numbering. m is the largest number in a user's history, l the last one; history,
// repeats and numbers outside 1..items are skipped:
//   R1  m+1, l+1, m+2, l-1, l+2, m-1, m+3, l-2, ...
//   R2  training items of the users up to six numbers away, by sum of 60/distance
//   R3  m+1, R2's first four, l+1, m+2, the rest of R2
// Users with fewer than three items are left out.
#pragma once

#include <string>
#include <vector>

#include "src/base/ragged.h"
#include "src/data/catalogue.h"
#include "src/data/split.h"

namespace whyrec::data {

struct AuditValue {
  std::string check;   // "R1", "R2", "R3", "digit_count_direct", "popularity", "markov"
  std::string metric;  // "HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"
  double value;
  int64_t users;
};

// A JSON list of {"check", "metric", "value", "users"}, ending in a newline: audit.json, and
// `whyrec audit --format json`.
std::string AuditJson(const std::vector<AuditValue>& values);

// Sequences in numbers 1..items, in the order of the user numbers: what the rules look at.
struct NumberedSequences {
  Ragged<int64_t> sequences;
  std::vector<size_t> training;  // how many of a sequence's first positions training sees
  int64_t items = 0;
};
NumberedSequences Number(const Catalogue& catalogue, const Numbering& numbers,
                         config::SplitConfig::HeldOut how);

std::vector<AuditValue> RuleR1(const NumberedSequences& data);
std::vector<AuditValue> RuleR2(const NumberedSequences& data);
std::vector<AuditValue> RuleR3(const NumberedSequences& data);
// Direct task: the candidate whose number has fewer digits first (early numbers are popular items);
// 99 negatives of an own draw, ties at their expectation.
std::vector<AuditValue> RuleDigitCount(const NumberedSequences& data, uint64_t seed);

// Popularity and Markov under file order and under five shuffles of equal time stamps
// ("popularity", "popularity, ties shuffled (seed 1)", ...). Empty without time stamps.
std::vector<AuditValue> TieOrder(const config::CatalogueConfig& config);

}  // namespace whyrec::data
