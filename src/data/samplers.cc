#include "src/data/samplers.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "src/base/error.h"

namespace whyrec::data {

CursorSampler::CursorSampler(int64_t n, uint64_t seed, std::string_view purpose,
                             bool shuffle_first_pass)
    : n_(n), seed_(seed), purpose_(purpose), shuffle_first_pass_(shuffle_first_pass) {
  WR_CHECK(n > 0, "no records for ", purpose_);
}

int64_t CursorSampler::At(int64_t draw) {
  if (const int64_t pass = draw / n_; pass != pass_) {
    pass_ = pass;
    order_.resize(static_cast<size_t>(n_));
    std::iota(order_.begin(), order_.end(), 0);
    if (pass > 0 || shuffle_first_pass_)
      Rng(seed_, purpose_, static_cast<uint64_t>(pass)).Shuffle(order_);
  }
  return order_[static_cast<size_t>(draw % n_)];
}

std::pair<int64_t, int64_t> SequentialSegment(int64_t training_items, int64_t max_sequence,
                                              Rng& rng) {
  if (training_items < 2) return {-1, -1};
  const int64_t a = rng.Between(0, training_items - 2);
  const int64_t b = rng.Between(a + 1, training_items - 1);
  return {std::max(a, b - max_sequence + 1), b};
}

std::vector<int64_t> DrawNegatives(int64_t items, std::span<const int64_t> excluded, int64_t count,
                                   Rng& rng) {
  std::vector<int64_t> out_of_play(excluded.begin(), excluded.end());
  std::ranges::sort(out_of_play);
  out_of_play.erase(std::unique(out_of_play.begin(), out_of_play.end()), out_of_play.end());
  const int64_t left = items - static_cast<int64_t>(out_of_play.size());
  if (left < count)
    Fail(Exit::kData, "of ", items, " items ", left, " can be negatives, ", count,
         " are wanted; lower split.direct_negatives");
  // Floyd's draw of `count` of the places 0..left-1, each then moved past the excluded rows below
  // it.
  std::unordered_set<int64_t> taken;
  std::vector<int64_t> out;
  for (int64_t last = left - count; last < left; ++last) {
    int64_t place = rng.Between(0, last);
    if (!taken.insert(place).second) taken.insert(place = last);
    for (int64_t row : out_of_play) {
      if (row > place) break;
      ++place;
    }
    out.push_back(place);
  }
  return out;
}

}  // namespace whyrec::data
