// Threads for our own kernels.
#pragma once

#include <cstdint>
#include <functional>

namespace whyrec::tensor {

// Calls body(begin, end) on equal shares of [0, n), one for each of LibTorch's threads.
// (at::parallel_for is a header template and runs on one thread unless our units are compiled with
// OpenMP.) `body` must not throw.
void ParallelFor(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body);

// The same; inside `body` LibTorch's operators use one thread each.
void ParallelForSerialOps(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace whyrec::tensor
