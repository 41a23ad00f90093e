// Ranks and metrics with one relevant item per user: HR@k = [rank < k],
// NDCG@k = [rank < k] / log2(rank + 2), reciprocal rank 1 / (rank + 1), ranks from 0.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace whyrec::eval {

// Place of the target among scored candidates.
struct Rank {
  int64_t greater = 0;  // candidates with a higher score
  int64_t ties = 0;     // others with the same score
  bool miss = false;    // the target has no finite score
};

// Rank of `target` (an index of `scores`); NaN scores lose. Candidates with mask[i] != 0 do not
// count; an empty mask masks nothing, and the target itself is never masked.
Rank RankOf(std::span<const double> scores, int64_t target, std::span<const uint8_t> mask = {});

enum class Ties {
  kPessimistic,  // target last among equals
  kExpected,     // mean over all orders of the equals
  kOptimistic,   // target first
};

double HitRate(const Rank& rank, int64_t k, Ties ties);
double Ndcg(const Rank& rank, int64_t k, Ties ties);
double ReciprocalRank(const Rank& rank, Ties ties);

// Of lists of ids (beams). With dedupe false a correct id that is repeated counts each time, as in
// the published code, so HR can exceed 1; NDCG is then divided by that of an ideal list with as
// many hits.
double HitRate(std::span<const int64_t> list, int64_t target, int64_t k, bool dedupe);
double Ndcg(std::span<const int64_t> list, int64_t target, int64_t k, bool dedupe);
double ReciprocalRank(std::span<const int64_t> list, int64_t target);  // 0 where it is not there

// What equal scores for `candidates` of them give, ties at their expectation: chance.
Rank ChanceRank(int64_t candidates);

struct Interval {
  double mean = 0, low = 0, high = 0;  // 95 % percentile bootstrap over users
};
// One interval per column of `columns` (each one value per user), from the same resamples.
std::vector<Interval> Bootstrap(const std::vector<std::vector<double>>& columns, int resamples,
                                uint64_t seed);

// Warnings where HR@5, NDCG@5, HR@10, NDCG@10 of one row cannot come from lists without duplicates:
// NDCG@5 lies in [0.3869, 1] * HR@5, NDCG@10 - NDCG@5 in [0.2891, 0.3562] * (HR@10 - HR@5).
// Rounding slack 1e-4.
std::vector<std::string> ImpossibleCells(double hr5, double ndcg5, double hr10, double ndcg10);

}  // namespace whyrec::eval
