// Dense numerics behind HostTensor: usable above and below the torch line.
#pragma once

#include "src/base/host_tensor.h"

namespace whyrec::nn {

// Threads that LibTorch's operators use in this process; 0 leaves its own choice.
void SetThreads(int threads);

// Principal components (isrf 6.3): z F32 [n, w] -> F32 [n, p], centred, not whitened; each
// component's largest-magnitude loading is positive. p <= min(w, n - 1). Computed in double.
HostTensor Pca(const HostTensor& z, int64_t p);

// K largest cosines of every row with the other rows, best first, self removed by index; ties to
// the smaller row. x F32 [n, w] (normalised inside; a row of zeros has cosine 0 with all), k < n;
// result I32 [n, k], rows from 0. Exact, in blocks; products in double.
HostTensor TopKCosine(const HostTensor& x, int64_t k);
// Of the rows begin..end alone: I32 [end - begin, k].
HostTensor TopKCosine(const HostTensor& x, int64_t k, int64_t begin, int64_t end);

}  // namespace whyrec::nn
