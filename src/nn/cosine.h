// Similarities between rows, in at least single precision.
#pragma once

#include "src/nn/at.h"

namespace whyrec::nn {

// Half types as fp32, other types as they are.
at::Tensor Wide(const at::Tensor& x);

// x [.., d] divided by the length of each row. Lengths below 1e-12 count as 1e-12.
at::Tensor Directions(const at::Tensor& x);

// Cosines of all pairs of rows: [n,d], [m,d] -> [n,m].
at::Tensor Cosines(const at::Tensor& a, const at::Tensor& b);

}  // namespace whyrec::nn
