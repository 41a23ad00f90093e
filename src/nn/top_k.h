// Nearest rows by cosine: the user graph of ISRF (equation 6) and PULSE's similar users.
#pragma once

#include "src/base/host_tensor.h"

namespace whyrec::nn {

// For every row the k other rows with the largest cosine, best first, ties to the smaller row; a
// row is never its own neighbour. x F32 [n, w] need not be normalised (a row of zeros has cosine 0
// with all), 1 <= k < n. Returns I32 [n, k] of row indices.
//
// Exact, and the same on every CPU: cosines are compared as the exact ones, rounded to fp32.
// Products of blocks in fp32 only say which rows may be among the k best, with a margin that no
// rounding can exceed; each product of two blocks serves the rows of both. Only rows that the
// margin cannot tell apart are computed exactly.
// Takes n (w + 4 k) floats and about 8 k + 2,048 bytes a row.
HostTensor TopKCosine(const HostTensor& x, int64_t k);
// The same for the rows [begin, end) only: I32 [end - begin, k].
HostTensor TopKCosine(const HostTensor& x, int64_t k, int64_t begin, int64_t end);

}  // namespace whyrec::nn
