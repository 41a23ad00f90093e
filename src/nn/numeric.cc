#include "src/nn/numeric.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "src/nn/at.h"
#include "src/tensor/bridge.h"
#include "src/tensor/parallel.h"

namespace whyrec::nn {

void SetThreads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

void UsePlainKernels() {
  const std::string level = at::get_cpu_capability();
  WR_CHECK(level == "DEFAULT", "LibTorch's kernels are those of ", level);
  at::globalContext().setUserEnabledMkldnn(false);
  SetThreads(1);
}

HostTensor Pca(const HostTensor& z, int64_t p) {
  const int64_t n = z.dim(0), width = z.dim(1);
  WR_CHECK(p >= 1 && p <= std::min(width, n - 1), "p = ", p, " of ", n, " x ", width);
  const c10::NoGradGuard no_grad;
  const at::Tensor rows = tensor::View(z).to(at::kDouble);
  const at::Tensor centred = rows - rows.mean(0, true);
  // Eigenvalues ascend: take the last p vectors in reverse order.
  at::Tensor axes = std::get<1>(at::linalg_eigh(at::mm(centred.t(), centred)));
  axes = axes.narrow(1, width - p, p).flip(1);
  const at::Tensor loading = axes.gather(0, axes.abs().argmax(0, true));
  axes = at::where(loading < 0, -axes, axes);
  return tensor::ToHost(at::mm(centred, axes).to(at::kFloat));
}

namespace {

// The k best of n scores without `self`, best first, equal ones by index.
void Best(const float* scores, int64_t n, int64_t self, std::span<int32_t> out) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  order.erase(order.begin() + self);
  const auto better = [scores](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  const auto end = order.begin() + static_cast<int64_t>(out.size());
  std::nth_element(order.begin(), end - 1, order.end(), better);
  std::sort(order.begin(), end, better);
  std::copy(order.begin(), end, out.begin());
}

}  // namespace

HostTensor TopKCosine(const HostTensor& x, int64_t k) { return TopKCosine(x, k, 0, x.dim(0)); }

HostTensor TopKCosine(const HostTensor& x, int64_t k, int64_t begin, int64_t end) {
  const int64_t n = x.dim(0);
  WR_CHECK(k >= 1 && k < n, "k = ", k, " of ", n, " rows");
  const c10::NoGradGuard no_grad;
  // Products in double, compared in float: equal rows then tie exactly, whatever block they fall
  // in.
  const at::Tensor rows = tensor::View(x).to(at::kDouble);
  const at::Tensor unit = rows / at::linalg_vector_norm(rows, 2, {1}, true).clamp_min(1e-30);
  HostTensor out = HostTensor::Zeros(DType::kI32, {end - begin, k});
  constexpr int64_t kBlock = 512;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = std::min(kBlock, end - first);
    const at::Tensor scores = at::mm(unit.narrow(0, first, count), unit.t()).to(at::kFloat);
    tensor::ParallelFor(count, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i)
        Best(scores.const_data_ptr<float>() + i * n, n, first + i,
             out.row<int32_t>(first - begin + i));
    });
  }
  return out;
}

}  // namespace whyrec::nn
