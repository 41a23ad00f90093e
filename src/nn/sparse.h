// Graph propagation: differentiable products with a fixed sparse matrix, and LightGCN's layer mean.
#pragma once

#include <functional>
#include <memory>

#include "src/base/csr.h"
#include "src/nn/at.h"

namespace whyrec::nn {

// What the CPU's layer mean keeps between layers, for operands in fp32. In bf16 half the bytes are
// read; sums stay in fp32 (relative error of a mean about 1e-3).
enum class LayerStorage { kAsOperand, kBF16 };
inline LayerStorage StorageOf(bool bf16_layers) {
  return bf16_layers ? LayerStorage::kBF16 : LayerStorage::kAsOperand;
}

// A sparse matrix that multiplies tables [rows, d] in fp32 or fp64. On the CPU by our own kernel
// (nn/gather_sum.h), with threads over shares of equal work; elsewhere by LibTorch's CSR product.
class SparseOperator {
 public:
  // The transpose is built for the backward pass unless the matrix is symmetric.
  explicit SparseOperator(Csr a, bool symmetric, LayerStorage storage = LayerStorage::kAsOperand);
  at::Tensor Multiply(const at::Tensor& x) const;  // [columns, d] -> [rows, d], differentiable in x
  // (1/(L+1)) sum_{l=0..L} A^l x: ISRF equation 4, the layer mean of LightGCN (He et al. 2020),
  // computed as (x + A (x + A (x + ...))) / (L + 1), with the same for the gradient. x [n,d] ->
  // [n,d], A square.
  at::Tensor LayerMean(const at::Tensor& x, int64_t layers) const;

  // The layer mean of a part of a square, symmetric matrix: columns are the part's own rows, then
  // others. Before each product, fill(own, others) gets what is multiplied, [rows, w] and
  // [columns - rows, w], own part complete, and brings the others, which their owners have. Not
  // differentiable by itself: the gradient is the part's layer mean of the gradient.
  using Fill = std::function<void(const at::Tensor& own, const at::Tensor& others)>;
  at::Tensor PartLayerMean(const at::Tensor& x, int64_t layers, const Fill& fill) const;

  // The same as other devices compute them, which runs on the CPU, too.
  at::Tensor MultiplyByOperators(const at::Tensor& x) const;
  at::Tensor LayerMeanByOperators(const at::Tensor& x, int64_t layers) const;

 private:
  class Matrix;
  std::shared_ptr<const Matrix> forward_, backward_;
};

}  // namespace whyrec::nn
