// Ranks and metrics (baselines section 7, isrf 9.2). One relevant item per user.
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

// Lists of ids (beams). dedupe false counts a repeated correct id repeatedly, as published.
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

// Warnings where a row of HR@5, NDCG@5, HR@10, NDCG@10 breaks the arithmetic that links them when
// no duplicate is counted (isrf 9.2); rounding slack 1e-4.
std::vector<std::string> ImpossibleCells(double hr5, double ndcg5, double hr10, double ndcg10);

}  // namespace whyrec::eval
