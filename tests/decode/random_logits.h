// Logits of a distribution that is no language.
#pragma once

#include <ATen/ops/tensor.h>

#include <vector>

#include "src/base/rng.h"

namespace whyrec::decode {

inline at::Tensor RandomLogits(int64_t rows, int64_t vocabulary, double scale) {
  std::vector<float> values(static_cast<size_t>(rows * vocabulary));
  Rng(3, "logits").FillNormal(values, scale);
  return at::tensor(values).view({rows, vocabulary});
}

}  // namespace whyrec::decode
