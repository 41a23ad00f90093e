// Log-sum-exp of one row of logits: the normaliser of its probabilities.
#pragma once

#include <cstdint>

namespace whyrec::decode {

// Of n >= 1 values of T, float or c10::BFloat16, each divided by the temperature. Depends on
// the row only, so a sequence gets the same score in any batch. NaN or infinite
// when the row holds a NaN or plus infinity or nothing but minus infinity.
template <typename T>
double LogSumExp(const T* row, int64_t n, double temperature = 1);

}  // namespace whyrec::decode
