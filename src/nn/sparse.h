// Graph propagation: differentiable products with a fixed sparse operator, and LightGCN's layer
// mean.
#pragma once

#include <memory>

#include "src/base/host_tensor.h"
#include "src/nn/at.h"

namespace whyrec::nn {

// A sparse matrix in compressed rows. On the CPU row-parallel kernels with a fixed order of
// summation: results do not depend on threads. fp32 and fp64 operands.
class SparseOperator {
 public:
  // offsets I64 [rows+1], indices I64 [nnz], weights F32 [nnz]. The transpose is built for the
  // backward pass unless the matrix is symmetric.
  SparseOperator(HostTensor offsets, HostTensor indices, HostTensor weights, int64_t columns,
                 bool symmetric);
  at::Tensor Multiply(const at::Tensor& x) const;  // [columns, d] -> [rows, d], differentiable in x
  // How Multiply does it on other devices than the CPU, by LibTorch's CSR product; runs on any.
  at::Tensor MultiplyByOperators(const at::Tensor& x) const;

 private:
  struct Matrix;
  std::shared_ptr<const Matrix> forward_, backward_;
};

// (1/(L+1)) sum_{l=0..L} A^l x (isrf equation 4).
at::Tensor LayerMean(const SparseOperator& a, const at::Tensor& x, int64_t layers);

}  // namespace whyrec::nn
