// What sampling draws from: probabilities after temperature, top-k and top-p, in this order, with
// the edge rules of the reference library.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/decode/sampling.h"

namespace whyrec::decode {

struct TokenProbability {
  int64_t token = 0;
  double probability = 0;
};

// Of logits [n, V] at a temperature above 0, per row what remains, most probable first (of equal
// tokens the smaller first), summing to 1:
//  - top-k keeps all tokens that tie with the k-th;
//  - top-p drops the least probable tokens while they together have at most 1 - top_p (of equal
//    tokens the larger is dropped first; the library leaves it to an unstable sort), but never the
//    last one.
// Without either limit a row may end early, once it holds more than enough[row] of the probability
// (nothing: everything); it then sums to less than 1. `normaliser`: log-sum-exp of each row of
// logits.
std::vector<std::vector<TokenProbability>> Warp(const at::Tensor& logits, const Sampling& sampling,
                                                const std::vector<double>& normaliser,
                                                std::span<const double> enough = {});

}  // namespace whyrec::decode
