#include "src/nn/cosine.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>

namespace whyrec::nn {

at::Tensor Wide(const at::Tensor& x) {
  const auto type = x.scalar_type();
  return type == at::kBFloat16 || type == at::kHalf ? x.to(at::kFloat) : x;
}

at::Tensor Directions(const at::Tensor& x) {
  const at::Tensor wide = Wide(x);
  return wide / at::linalg_vector_norm(wide, 2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

at::Tensor Cosines(const at::Tensor& a, const at::Tensor& b) {
  return at::matmul(Directions(a), Directions(b).t());
}

}  // namespace whyrec::nn
