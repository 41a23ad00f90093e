// Dense linear algebra with HostTensor arguments, so that code without LibTorch can call it.
#pragma once

#include "src/base/host_tensor.h"

namespace whyrec::nn {

// Sets the threads that LibTorch's operators use in this process; 0 keeps LibTorch's default.
void SetThreads(int threads);

// For execution.reproducible: checks that the process was started with plain kernels
// (base/self_start.h) and sets what the environment cannot: one thread, and no oneDNN, whose use
// for bf16 depends on the CPU. Error(kInternal) if LibTorch has chosen other kernels.
void UsePlainKernels();

// Principal components, which reduce the item vectors of ISRF equation 2: z F32 [n, w] -> F32
// [n, p], centred, not whitened. The sign of each component is fixed: its largest loading in
// magnitude is positive. p <= min(w, n - 1). Computed in double.
HostTensor Pca(const HostTensor& z, int64_t p);

}  // namespace whyrec::nn
