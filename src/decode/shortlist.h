// The few tokens of each row of logits that a search reads, brought to the host.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::decode {

// The score of a beam that is not there, and what is added to a row that shall give none.
inline constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Shortlist {
  std::vector<size_t> first;       // entries first[r] .. first[r + 1] are row r's
  std::vector<int64_t> tokens;     // ascending within a row
  std::vector<float> logits;       // of those tokens
  std::vector<double> normaliser;  // per row, log-sum-exp over all its logits
  float LogProbability(int64_t row, size_t entry) const {
    return static_cast<float>(logits[entry] - normaliser[static_cast<size_t>(row)]);
  }
};

// Log-sum-exp of each row of logits [rows, V], any float type and device, over the temperature.
std::vector<double> Normalisers(const at::Tensor& logits, double temperature = 1);

// Of logits [rows, V] the k largest of each row and whatever ties with the last of them, now or
// after `added` (a score per row, or nothing) has been added and rounding done. Logits of minus
// infinity never count; rows to which minus infinity is added stay empty. `normaliser` as above,
// if the caller has it.
Shortlist TopTokens(const at::Tensor& logits, int64_t k, std::span<const float> added = {},
                    std::span<const double> normaliser = {});

// The given tokens of each row, and no others.
Shortlist PickTokens(const at::Tensor& logits, const std::vector<std::span<const int64_t>>& tokens,
                     std::span<const double> normaliser = {});

// How TopTokens does it on other devices than the CPU, by tensor operators; runs on any.
Shortlist TopTokensByOperators(const at::Tensor& logits, int64_t k, std::span<const float> added,
                               std::span<const double> normaliser);

}  // namespace whyrec::decode
