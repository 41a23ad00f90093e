#include "src/train/share.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace whyrec::train {

Slice RankSlice(int64_t global_batch, int rank, int ranks) {
  return {global_batch * rank / ranks, global_batch * (rank + 1) / ranks};
}

Slice PartSlice(const Slice& whole, const Part& part) {
  return {whole.begin + whole.size() * part.index / part.count,
          whole.begin + whole.size() * (part.index + 1) / part.count};
}

namespace {

// Places of the samples of one bin, ascending. The longest sample comes first, into the bin with
// the fewest tokens that has room: sizes are those of equal slices.
std::vector<int64_t> Dealt(std::span<const int64_t> tokens, int64_t bins, int64_t wanted) {
  const auto count = std::ssize(tokens);
  std::vector<int64_t> order(tokens.size()), room, sum(static_cast<size_t>(bins)), mine;
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(), [&](int64_t i) { return tokens[i]; });
  for (int64_t b = 0; b < bins; ++b)
    room.push_back(PartSlice({0, count}, {.index = b, .count = bins}).size());
  for (const int64_t sample : order) {
    size_t to = 0;
    while (room[to] == 0) ++to;
    for (size_t b = to + 1; b < room.size(); ++b)
      if (room[b] > 0 && sum[b] < sum[to]) to = b;
    --room[to];
    sum[to] += tokens[static_cast<size_t>(sample)];
    if (static_cast<int64_t>(to) == wanted) mine.push_back(sample);
  }
  std::ranges::sort(mine);
  return mine;
}

}  // namespace

std::vector<int64_t> BalancedPart(std::span<const int64_t> tokens, int rank, int ranks,
                                  const Part& part) {
  const std::vector<int64_t> own = Dealt(tokens, ranks, rank);
  std::vector<int64_t> lengths, mine;
  for (const int64_t sample : own) lengths.push_back(tokens[static_cast<size_t>(sample)]);
  for (const int64_t i : Dealt(lengths, part.count, part.index))
    mine.push_back(own[static_cast<size_t>(i)]);
  return mine;
}

Share::Share(int64_t step, int64_t global_batch, int rank, int ranks, const Part& part)
    : step(step),
      global_batch(global_batch),
      rank(RankSlice(global_batch, rank, ranks)),
      rank_(rank),
      ranks_(ranks),
      part_(part) {
  const Slice here = PartSlice(this->rank, part);
  begin = here.begin;
  end = here.end;
}

std::vector<int64_t> Share::Deal(std::span<const int64_t> tokens) const {
  return BalancedPart(tokens, rank_, ranks_, part_);
}

}  // namespace whyrec::train
