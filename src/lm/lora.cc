#include "src/lm/lora.h"

#include <ATen/ops/dropout.h>
#include <ATen/ops/linear.h>

#include <cmath>

namespace whyrec::lm {

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

at::Tensor Projection::operator()(const at::Tensor& x, bool training) const {
  const at::Tensor y = at::linear(x, weight);
  if (!a.defined()) return y;
  const at::Tensor low = at::linear(at::dropout(x.to(a.scalar_type()), dropout, training), a);
  return (y + at::linear(low, b) * scale).to(y.scalar_type());
}

}  // namespace whyrec::lm
