#include "src/eval/metrics.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::eval {
namespace {

double Gain(int64_t rank) { return 1.0 / std::log2(static_cast<double>(rank) + 2.0); }

// Places of `target` among the first k of the list.
std::vector<int64_t> Hits(std::span<const int64_t> list, int64_t target, int64_t k, bool dedupe) {
  std::vector<int64_t> hits, kept;
  for (int64_t id : list) {
    if (dedupe && std::ranges::find(kept, id) != kept.end()) continue;
    if (std::ssize(kept) == k) break;
    if (id == target) hits.push_back(std::ssize(kept));
    kept.push_back(id);
  }
  return hits;
}

// Linear interpolation between the order statistics; `sorted` ascends.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

Rank RankOf(std::span<const double> scores, int64_t target, std::span<const uint8_t> mask) {
  WR_CHECK(mask.empty() || mask.size() == scores.size(), mask.size(), " != ", scores.size());
  const auto at = static_cast<size_t>(target);
  const double own = scores[at];
  Rank rank;
  rank.miss = !std::isfinite(own);
  for (size_t i = 0; i < scores.size(); ++i) {
    if (i == at || (!mask.empty() && mask[i] != 0)) continue;
    rank.greater += scores[i] > own;
    rank.ties += scores[i] == own;
  }
  return rank;
}

double HitRate(const Rank& rank, int64_t k, Ties ties) {
  if (rank.miss) return 0;
  const int64_t places = k - rank.greater;  // that hold the target's equals or worse
  if (ties == Ties::kPessimistic) return places > rank.ties;
  if (ties == Ties::kOptimistic) return places > 0;
  return std::clamp(static_cast<double>(places) / static_cast<double>(rank.ties + 1), 0.0, 1.0);
}

double Ndcg(const Rank& rank, int64_t k, Ties ties) {
  if (rank.miss) return 0;
  const int64_t first = rank.greater, last = rank.greater + rank.ties;
  if (ties == Ties::kPessimistic) return last < k ? Gain(last) : 0;
  if (ties == Ties::kOptimistic) return first < k ? Gain(first) : 0;
  double sum = 0;
  for (int64_t place = first; place <= std::min(last, k - 1); ++place) sum += Gain(place);
  return sum / static_cast<double>(rank.ties + 1);
}

double HitRate(std::span<const int64_t> list, int64_t target, int64_t k, bool dedupe) {
  return static_cast<double>(Hits(list, target, k, dedupe).size());
}

double Ndcg(std::span<const int64_t> list, int64_t target, int64_t k, bool dedupe) {
  const std::vector<int64_t> hits = Hits(list, target, k, dedupe);
  double sum = 0, best = 0;
  for (size_t i = 0; i < hits.size(); ++i) {
    sum += Gain(hits[i]);
    best += Gain(static_cast<int64_t>(i));
  }
  // `best` is the ideal list's sum; with one hit it is 1.
  return hits.empty() ? 0 : sum / best;
}

double ReciprocalRank(const Rank& rank, Ties ties) {
  if (rank.miss) return 0;
  const int64_t first = rank.greater + 1, last = first + rank.ties;
  if (ties == Ties::kPessimistic) return 1.0 / static_cast<double>(last);
  if (ties == Ties::kOptimistic) return 1.0 / static_cast<double>(first);
  double sum = 0;
  for (int64_t place = first; place <= last; ++place) sum += 1.0 / static_cast<double>(place);
  return sum / static_cast<double>(rank.ties + 1);
}

double ReciprocalRank(std::span<const int64_t> list, int64_t target) {
  const auto found = std::ranges::find(list, target);
  return found == list.end() ? 0 : 1.0 / static_cast<double>(found - list.begin() + 1);
}

Rank ChanceRank(int64_t candidates) { return {.greater = 0, .ties = candidates - 1}; }

std::vector<Interval> Bootstrap(const std::vector<std::vector<double>>& columns, int resamples,
                                uint64_t seed) {
  if (columns.empty() || columns[0].empty()) return std::vector<Interval>(columns.size());
  const size_t width = columns.size(), users = columns[0].size();
  std::vector<double> rows(users * width);  // a user's values side by side: one cache line a draw
  for (size_t c = 0; c < width; ++c) {
    WR_CHECK(columns[c].size() == users, "column ", c, " has ", columns[c].size(), " of ", users);
    for (size_t u = 0; u < users; ++u) rows[u * width + c] = columns[c][u];
  }
  std::vector<std::vector<double>> means(width);
  std::vector<double> sums(width);
  for (int r = 0; r < resamples; ++r) {
    Rng rng(seed, "bootstrap", 0, static_cast<uint64_t>(r));
    std::ranges::fill(sums, 0.0);
    for (size_t n = 0; n < users; ++n) {
      const double* row = &rows[rng.Below(users) * width];
      for (size_t c = 0; c < width; ++c) sums[c] += row[c];
    }
    for (size_t c = 0; c < width; ++c) means[c].push_back(sums[c] / static_cast<double>(users));
  }
  std::vector<Interval> out;
  for (size_t c = 0; c < width; ++c) {
    double sum = 0;
    for (double value : columns[c]) sum += value;
    std::ranges::sort(means[c]);
    out.push_back(
        {sum / static_cast<double>(users), Quantile(means[c], 0.025), Quantile(means[c], 0.975)});
  }
  return out;
}

std::vector<std::string> ImpossibleCells(double hr5, double ndcg5, double hr10, double ndcg10) {
  constexpr double kSlack = 1e-4;
  std::vector<std::string> out;
  const auto bound = [&](const char* name, double value, double low, double high) {
    if (value < low - kSlack || value > high + kSlack)
      out.push_back(Cat(name, " = ", value, " is outside [", low, ", ", high,
                        "], all that one relevant item without duplicates allows"));
  };
  const double hits = hr10 - hr5;  // targets in places 6 to 10
  bound("HR@5", hr5, 0, hr10);
  bound("NDCG@5", ndcg5, Gain(4) * hr5, hr5);
  if (hits >= 0) bound("NDCG@10 - NDCG@5", ndcg10 - ndcg5, Gain(9) * hits, Gain(5) * hits);
  return out;
}

}  // namespace whyrec::eval
