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

}  // namespace whyrec::nn
