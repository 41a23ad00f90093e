// Threads for our own kernels.
#pragma once

#include <cstdint>
#include <functional>

namespace whyrec::tensor {

// Calls body(begin, end) on equal shares of 0..n-1, one for each of LibTorch's threads.
// (at::parallel_for lives in a header and runs on one thread unless our units are compiled with
// OpenMP.) The body must not throw.
void ParallelFor(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body);

// The same with LibTorch's own operators held to one thread inside `body`.
void ParallelForSerialOps(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace whyrec::tensor
