// Graph propagation: differentiable products with a fixed sparse operator, and LightGCN's layer
// mean.
#pragma once

#include <memory>

#include "src/base/host_tensor.h"
#include "src/nn/at.h"

namespace whyrec::nn {

// A sparse matrix in compressed rows. On the CPU our kernels work on rows in parallel with a fixed
// order of summation, so results do not depend on the number of threads. fp32 and fp64 operands.
class SparseOperator {
 public:
  // offsets I64 [rows+1], indices I64 [nnz], weights F32 [nnz]. The transpose is built for the
  // backward pass unless the matrix is symmetric.
  SparseOperator(HostTensor offsets, HostTensor indices, HostTensor weights, int64_t columns,
                 bool symmetric);
  at::Tensor Multiply(const at::Tensor& x) const;  // [columns, d] -> [rows, d], differentiable in x
  // How Multiply works on devices other than the CPU: LibTorch's CSR product. Runs on any device.
  at::Tensor MultiplyByOperators(const at::Tensor& x) const;

 private:
  struct Matrix;
  std::shared_ptr<const Matrix> forward_, backward_;
};

// (1/(L+1)) sum_{l=0..L} A^l x: ISRF equation 4, the layer mean of LightGCN (He et al. 2020). x
// [n,d] -> [n,d].
at::Tensor LayerMean(const SparseOperator& a, const at::Tensor& x, int64_t layers);

}  // namespace whyrec::nn
