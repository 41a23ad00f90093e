// Full ranking: the target's rank among all items and the best items, for many queries at once.
// Scores stay on their device and are computed in tiles, which bounds the memory.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "src/eval/metrics.h"
#include "src/nn/at.h"
#include "src/ranking/scorer.h"

namespace whyrec::ranking {

// Scores of a range of items, [Q, range.size()]; NaN: the item cannot be recommended.
using TileScores = std::function<at::Tensor(Range items)>;

// The target of each query is counted against all items outside its history (with mask_history) or
// all items; equal scores are ties, NaN loses. Lists hold the best options.list of the same items,
// without NaN; equal scores in the order of the items.
// `scores` is called for the same tiles whatever the queries, even for none.
std::vector<Ranked> RankTiles(const TileScores& scores, std::span<const Query> queries,
                              std::span<const int64_t> targets, int64_t items,
                              const RankOptions& options, int64_t tile_items);

// Items of one tile for so many queries: 32 M scores.
int64_t TileItems(int64_t queries, int64_t items);

}  // namespace whyrec::ranking
