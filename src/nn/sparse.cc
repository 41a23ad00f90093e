#include "src/nn/sparse.h"

#include <ATen/ops/_sparse_csr_tensor_unsafe.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>

#include "src/tensor/bridge.h"
#include "src/tensor/linear_map.h"
#include "src/tensor/parallel.h"
#include "src/tensor/vectorised.h"

namespace whyrec::nn {
namespace {

// sum += w * term
WR_VECTORISED void AddScaled(const float* __restrict term, float w, int64_t n,
                             float* __restrict sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += w * term[j];
}

WR_VECTORISED void AddScaled(const double* __restrict term, double w, int64_t n,
                             double* __restrict sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += w * term[j];
}

// LibTorch warns at the first CSR tensor that they are in beta.
struct Silence final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// A matrix as CSR tensors: one for each device and type that asked for it. Forward and backward
// passes may ask from different threads.
struct Copies {
  std::mutex mutex;
  std::vector<at::Tensor> all;
};

}  // namespace

struct SparseOperator::Matrix {
  int64_t rows = 0, columns = 0;
  HostTensor offsets, indices, weights;
  std::shared_ptr<Copies> copies = std::make_shared<Copies>();

  Matrix Transpose() const;
  at::Tensor On(at::Device device, at::ScalarType type) const;
  at::Tensor Times(const at::Tensor& x) const;
  at::Tensor TimesByOperators(const at::Tensor& x) const;

  template <typename T>
  void Rows(int64_t begin, int64_t end, const T* x, int64_t width, T* out) const;
};

SparseOperator::Matrix SparseOperator::Matrix::Transpose() const {
  const auto from = offsets.values<int64_t>(), to = indices.values<int64_t>();
  const auto weight = weights.values<float>();
  Matrix out{columns, rows, HostTensor::Zeros(DType::kI64, {columns + 1}),
             HostTensor::Zeros(DType::kI64, indices.shape()),
             HostTensor::Zeros(DType::kF32, weights.shape())};
  const auto starts = out.offsets.values<int64_t>();
  for (const int64_t column : to) ++starts[static_cast<size_t>(column) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  std::vector<int64_t> next(starts.begin(), starts.end() - 1);
  for (size_t row = 0; row + 1 < from.size(); ++row) {  // rows in order: so are the transpose's
    for (auto k = static_cast<size_t>(from[row]); k < static_cast<size_t>(from[row + 1]); ++k) {
      const auto place = static_cast<size_t>(next[static_cast<size_t>(to[k])]++);
      out.indices.values<int64_t>()[place] = static_cast<int64_t>(row);
      out.weights.values<float>()[place] = weight[k];
    }
  }
  return out;
}

template <typename T>
void SparseOperator::Matrix::Rows(int64_t begin, int64_t end, const T* x, int64_t width,
                                  T* out) const {
  const int64_t* from = offsets.values<int64_t>().data();
  const int64_t* to = indices.values<int64_t>().data();
  const float* weight = weights.values<float>().data();
  for (int64_t row = begin; row < end; ++row) {
    T* sum = out + row * width;
    std::fill_n(sum, width, T(0));
    for (int64_t k = from[row]; k < from[row + 1]; ++k) {
      AddScaled(x + to[k] * width, static_cast<T>(weight[k]), width, sum);
    }
  }
}

at::Tensor SparseOperator::Matrix::On(at::Device device, at::ScalarType type) const {
  const std::lock_guard lock(copies->mutex);
  for (const at::Tensor& copy : copies->all)
    if (copy.device() == device && copy.scalar_type() == type) return copy;
  // 32-bit indices where they suffice: half the bytes to read.
  const auto index = indices.numel() <= std::numeric_limits<int32_t>::max() ? at::kInt : at::kLong;
  const auto to = [&](const HostTensor& host, at::ScalarType as) {
    return tensor::View(host).to(device, as);
  };
  Silence silence;
  const c10::WarningUtils::WarningHandlerGuard quiet(&silence);
  return copies->all.emplace_back(at::_sparse_csr_tensor_unsafe(
      to(offsets, index), to(indices, index), to(weights, type), {rows, columns},
      at::TensorOptions(type).device(device).layout(at::kSparseCsr)));
}

at::Tensor SparseOperator::Matrix::TimesByOperators(const at::Tensor& x) const {
  WR_CHECK(x.dim() == 2 && x.size(0) == columns, "operand has ", x.size(0), " rows, not ", columns);
  return at::mm(On(x.device(), x.scalar_type()), x);
}

at::Tensor SparseOperator::Matrix::Times(const at::Tensor& x) const {
  if (!x.is_cpu()) return TimesByOperators(x);
  WR_CHECK(x.dim() == 2 && x.size(0) == columns, "operand has ", x.size(0), " rows, not ", columns);
  const at::Tensor in = x.contiguous();
  const at::Tensor out = at::empty({rows, x.size(1)}, in.options());
  const auto from = offsets.values<int64_t>();
  // Threads get equal shares of non-zeros, not of rows: degrees differ a thousandfold.
  constexpr int64_t kShares = 256;
  const auto first_row = [&](int64_t share) {
    if (share == kShares) return rows;
    return static_cast<int64_t>(
        std::lower_bound(from.begin(), from.end(), from.back() * share / kShares) - from.begin());
  };
  tensor::ParallelFor(kShares, [&](int64_t begin, int64_t end) {
    const int64_t low = first_row(begin), high = first_row(end);
    if (in.scalar_type() == at::kDouble) {
      Rows(low, high, in.const_data_ptr<double>(), x.size(1), out.mutable_data_ptr<double>());
    } else {
      Rows(low, high, in.const_data_ptr<float>(), x.size(1), out.mutable_data_ptr<float>());
    }
  });
  return out;
}

SparseOperator::SparseOperator(HostTensor offsets, HostTensor indices, HostTensor weights,
                               int64_t columns, bool symmetric) {
  const auto from = offsets.values<int64_t>();
  const auto to = indices.values<int64_t>();
  WR_CHECK(from.front() == 0 && from.back() == indices.numel() &&
               std::is_sorted(from.begin(), from.end()),
           "offsets do not cover ", indices.numel(), " non-zeros");
  WR_CHECK(weights.numel() == indices.numel(), weights.numel(), " weights");
  WR_CHECK(std::all_of(to.begin(), to.end(), [&](int64_t c) { return c >= 0 && c < columns; }),
           "a column is outside 0..", columns - 1);
  const int64_t rows = offsets.numel() - 1;
  forward_ = std::make_shared<Matrix>(Matrix{rows, columns, offsets, indices, weights});
  backward_ = symmetric ? forward_ : std::make_shared<const Matrix>(forward_->Transpose());
}

at::Tensor SparseOperator::Multiply(const at::Tensor& x) const {
  return tensor::ApplyLinear(
      x, [this](const at::Tensor& v) { return forward_->Times(v); },
      [back = backward_](const at::Tensor& gradient) { return back->Times(gradient); });
}

at::Tensor SparseOperator::MultiplyByOperators(const at::Tensor& x) const {
  return tensor::ApplyLinear(
      x, [this](const at::Tensor& v) { return forward_->TimesByOperators(v); },
      [back = backward_](const at::Tensor& gradient) { return back->TimesByOperators(gradient); });
}

at::Tensor LayerMean(const SparseOperator& a, const at::Tensor& x, int64_t layers) {
  at::Tensor layer = x, sum = x;
  for (int64_t l = 0; l < layers; ++l) {
    layer = a.Multiply(layer);
    sum = sum + layer;
  }
  return sum / static_cast<double>(layers + 1);
}

}  // namespace whyrec::nn
