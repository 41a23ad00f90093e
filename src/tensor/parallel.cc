#include "src/tensor/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace whyrec::tensor {

void ParallelFor(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body) {
  const int64_t shares = std::clamp<int64_t>(at::get_num_threads(), 1, std::max<int64_t>(n, 1));
  std::vector<std::jthread> threads;  // joined at the end
  for (int64_t s = 1; s < shares; ++s) {
    threads.emplace_back([&body, n, s, shares] { body(n * s / shares, n * (s + 1) / shares); });
  }
  body(0, n / shares);
}

void ParallelForSerialOps(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body) {
  const int threads = at::get_num_threads();
  ParallelFor(n, [&body](int64_t begin, int64_t end) {
    at::set_num_threads(1);  // of the calling thread; MKL's is the process's
    body(begin, end);
  });
  at::set_num_threads(threads);
}

}  // namespace whyrec::tensor
