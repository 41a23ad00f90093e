#include "src/ranking/full_ranking.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/error.h"

namespace whyrec::ranking {
namespace {

constexpr double kLowest = -std::numeric_limits<double>::infinity();

// Counts and best items of Q queries over the tiles seen so far.
class Tiles {
 public:
  Tiles(std::span<const Query> queries, std::span<const int64_t> targets,
        const RankOptions& options)
      : queries_(queries), targets_(targets), options_(options), best_(queries.size()) {}

  // [Q, 1]: the targets' scores have to be known before anything is counted against them.
  void Target(const at::Tensor& scores) {
    target_ = scores;
    greater_ = at::zeros({scores.size(0)}, scores.options().dtype(at::kLong));
    equal_ = at::zeros_like(greater_);
  }

  void Add(const at::Tensor& scores, Range items) {
    const at::Tensor hidden = Hidden(scores, items);
    // Every comparison with NaN is false, so that NaN loses.
    greater_ += scores.gt(target_).logical_and(hidden.logical_not()).sum(1);
    equal_ += scores.eq(target_).logical_and(hidden.logical_not()).sum(1);
    Merge(scores.masked_fill(hidden.logical_or(scores.isnan()), kLowest), items.begin);
  }

  std::vector<Ranked> Done() const {
    const at::Tensor greater = greater_.cpu(), equal = equal_.cpu(), target = target_.cpu();
    std::vector<Ranked> out(queries_.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      const double score = target[row][0].item<double>();
      out[i].rank = eval::Rank{.greater = greater[row].item<int64_t>(),
                               // NaN does not even equal itself.
                               .ties = std::max<int64_t>(0, equal[row].item<int64_t>() - 1),
                               .miss = !std::isfinite(score)};
      for (const auto& [value, item] : best_[i]) out[i].list.push_back(item);
    }
    return out;
  }

 private:
  // bool [Q, items]: history, but never the target.
  at::Tensor Hidden(const at::Tensor& scores, Range items) const {
    const at::Tensor hidden = at::zeros(scores.sizes(), at::kBool);
    if (!options_.mask_history) return hidden.to(scores.device());
    bool* flags = hidden.data_ptr<bool>();
    for (size_t i = 0; i < queries_.size(); ++i) {
      bool* row = flags + static_cast<int64_t>(i) * items.size();
      for (const int64_t item : queries_[i].history)
        if (item >= items.begin && item < items.end && item != targets_[i])
          row[item - items.begin] = true;
    }
    return hidden.to(scores.device());
  }

  // Equal scores in the order of the items: what topk leaves open is sorted on the host, among all
  // items that are as good as its last one.
  void Merge(const at::Tensor& scores, int64_t first) {
    const int64_t k = std::min<int64_t>(options_.list, scores.size(1));
    if (k == 0) return;
    const at::Tensor last = std::get<0>(at::topk(scores, k, 1)).select(1, k - 1).unsqueeze(1);
    const at::Tensor found = scores.ge(last).logical_and(scores.gt(kLowest)).nonzero().cpu();
    const at::Tensor values =
        scores.masked_select(scores.ge(last).logical_and(scores.gt(kLowest))).to(at::kDouble).cpu();
    for (int64_t i = 0; i < found.size(0); ++i)
      best_[static_cast<size_t>(found[i][0].item<int64_t>())].emplace_back(
          values[i].item<double>(), first + found[i][1].item<int64_t>());
    for (auto& best : best_) {
      std::ranges::stable_sort(best, [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
      });
      best.resize(std::min(best.size(), static_cast<size_t>(options_.list)));
    }
  }

  std::span<const Query> queries_;
  std::span<const int64_t> targets_;
  const RankOptions options_;
  at::Tensor target_, greater_, equal_;
  std::vector<std::vector<std::pair<double, int64_t>>> best_;  // score and item row, best first
};

}  // namespace

int64_t TileItems(int64_t queries, int64_t items) {
  constexpr int64_t kScores = int64_t{32} << 20;
  return std::clamp<int64_t>(kScores / std::max<int64_t>(queries, 1), 1,
                             std::max<int64_t>(items, 1));
}

std::vector<Ranked> RankTiles(const TileScores& scores, std::span<const Query> queries,
                              std::span<const int64_t> targets, int64_t items,
                              const RankOptions& options, int64_t tile_items) {
  Tiles tiles(queries, targets, options);
  const at::Tensor wanted = at::tensor(at::IntArrayRef(targets.data(), targets.size()), at::kLong);
  // The scores of the targets first; one tile is not computed twice.
  at::Tensor target, only;
  for (int64_t begin = 0; begin < items; begin += tile_items) {
    const Range tile{begin, std::min(begin + tile_items, items)};
    only = scores(tile);
    const at::Tensor place = (wanted.to(only.device()) - tile.begin).unsqueeze(1);
    const at::Tensor inside = place.ge(0).logical_and(place.lt(tile.size()));
    const at::Tensor found = only.gather(1, place.clamp(0, tile.size() - 1));
    target = target.defined() ? found.where(inside, target) : found;
  }
  tiles.Target(target);
  if (tile_items >= items) {
    tiles.Add(only, {0, items});
    return tiles.Done();
  }
  for (int64_t begin = 0; begin < items; begin += tile_items) {
    const Range tile{begin, std::min(begin + tile_items, items)};
    tiles.Add(scores(tile), tile);
  }
  return tiles.Done();
}

}  // namespace whyrec::ranking
