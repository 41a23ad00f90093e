// Whole-word ids (ISRF equation 1): which pieces of a prompt belong to which user or item mention.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace whyrec::text {

enum class WholeWordRule {
  kOrdinal,  // k-th mention of the prompt gets k (user 1, items 2, 3, ...)
  kNode,     // user n gets n, item n gets users + n: the row of the graph's node table
};

// One id per piece of a tokenized prompt without </s>; 0 outside mentions. A mention is the piece
// before a "_" piece ("▁user", "▁item"), the "_" and the digit pieces after it.
std::vector<int64_t> WholeWordIds(const std::vector<std::string>& pieces, WholeWordRule rule,
                                  int64_t users);

}  // namespace whyrec::text
