#include "src/nn/sparse.h"

#include <ATen/ops/_sparse_csr_tensor_unsafe.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/base/error.h"
#include "src/nn/gather_sum.h"
#include "src/tensor/linear_map.h"
#include "src/tensor/parallel.h"

namespace whyrec::nn {
namespace {

constexpr int64_t kPanel = 64;    // columns
constexpr int64_t kShares = 256;  // of rows: threads get equal shares of the work

// LibTorch warns at the first CSR tensor that they are in beta.
struct Silence final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// First rows of the shares. A row costs its entries and about four more: degrees differ a
// thousandfold.
std::vector<int64_t> ShareBegins(const Csr& a) {
  std::vector<int64_t> out;
  const int64_t all = a.entries() + 4 * a.rows();
  int64_t row = 0;
  for (int64_t share = 0; share <= kShares; ++share) {
    const auto target = static_cast<int64_t>(static_cast<double>(all) * share / kShares);
    while (row < a.rows() && a.offsets[static_cast<size_t>(row)] + 4 * row < target) ++row;
    out.push_back(share == kShares ? a.rows() : row);
  }
  return out;
}

void CheckMatrix(const Csr& a) {
  WR_CHECK(a.columns <= std::numeric_limits<int32_t>::max(), a.columns, " columns");
  WR_CHECK(a.offsets.front() == 0 && a.offsets.back() == a.entries() &&
               std::is_sorted(a.offsets.begin(), a.offsets.end()),
           "offsets do not cover ", a.entries(), " entries");
  WR_CHECK(a.values.empty() || std::ssize(a.values) == a.entries(), a.values.size(), " values");
  WR_CHECK(a.row_scale.empty() || std::ssize(a.row_scale) == a.rows(), a.row_scale.size(),
           " row scales");
  WR_CHECK(a.column_scale.empty() || std::ssize(a.column_scale) == a.columns, a.column_scale.size(),
           " column scales");
  WR_CHECK(std::ranges::all_of(a.indices, [&](int32_t c) { return c >= 0 && c < a.columns; }),
           "a column is outside 0..", a.columns - 1);
}

template <typename T>
at::ScalarType TypeOf() {
  return std::is_same_v<T, double>     ? at::kDouble
         : std::is_same_v<T, BFloat16> ? at::kBFloat16
                                       : at::kFloat;
}

template <typename T>
T* Data(const at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

}  // namespace

class SparseOperator::Matrix {
 public:
  using Fill = SparseOperator::Fill;

  Matrix(Csr a, LayerStorage storage)
      : a_(std::move(a)),
        begins_(ShareBegins(a_)),
        storage_(storage),
        row_(a_.row_scale),
        column_(a_.column_scale) {}

  const Csr& csr() const { return a_; }

  at::Tensor Times(const at::Tensor& x) const {
    if (!x.is_cpu()) return TimesByOperators(x);
    Check(x);
    return x.scalar_type() == at::kDouble ? TimesOf<double>(x) : TimesOf<float>(x);
  }

  at::Tensor LayerMean(const at::Tensor& x, int64_t layers, const Fill& fill = {}) const {
    WR_CHECK(x.dim() == 2 && x.size(0) == a_.rows() && (fill || a_.rows() == a_.columns),
             "layers [", x.size(0), ", ..] of a matrix [", a_.rows(), ", ", a_.columns, "]");
    if (!x.is_cpu()) return LayerMeanByOperators(x, layers, fill);
    if (x.scalar_type() == at::kDouble) return LayerMeanOf<double, double>(x, layers, fill);
    if (storage_ == LayerStorage::kBF16) return LayerMeanOf<BFloat16, float>(x, layers, fill);
    return LayerMeanOf<float, float>(x, layers, fill);
  }

  at::Tensor TimesByOperators(const at::Tensor& x) const {
    Check(x);
    return at::mm(On(x.device(), x.scalar_type()), x);
  }

  at::Tensor LayerMeanByOperators(const at::Tensor& x, int64_t layers,
                                  const Fill& fill = {}) const {
    at::Tensor z = x;
    for (int64_t l = 0; l < layers; ++l) {
      if (fill) z = Filled(z, fill);
      z = x + TimesByOperators(z);
    }
    return z / static_cast<double>(layers + 1);
  }

 private:
  // The scales in the type of the operands; null where all are 1.
  struct Scale {
    explicit Scale(const std::vector<double>& x) : wide(x), narrow(x.begin(), x.end()) {}
    template <typename T>
    const T* As() const {
      if (wide.empty()) return nullptr;
      if constexpr (std::is_same_v<T, double>)
        return wide.data();
      else
        return narrow.data();
    }
    std::vector<double> wide;
    std::vector<float> narrow;
  };

  void Check(const at::Tensor& x) const {
    WR_CHECK(x.dim() == 2 && x.size(0) == a_.columns, "operand has ", x.size(0), " rows, not ",
             a_.columns);
  }

  void ForShares(const std::function<void(int64_t begin, int64_t end)>& body) const {
    tensor::ParallelFor(kShares, [&](int64_t begin, int64_t end) {
      const auto first = static_cast<size_t>(begin), last = static_cast<size_t>(end);
      if (begins_[first] < begins_[last]) body(begins_[first], begins_[last]);
    });
  }

  template <typename Source, typename T, typename Out>
  void RunAll(const GatherSum<Source, T, Out>& sum) const {
    ForShares([&](int64_t begin, int64_t end) { Run(sum, begin, end); });
  }

  // scale * x of a panel, contiguous: what is gathered.
  template <typename Source, typename T>
  void Pack(int64_t rows, const Columns<const T>& x, const Columns<Source>& out) const {
    const T* scale = column_.As<T>();
    tensor::ParallelFor(rows,
                        [&](int64_t begin, int64_t end) { ScaleRows(x, scale, out, begin, end); });
  }

  // x without gaps, in `to`: rows are read once a layer.
  template <typename T>
  Columns<const T> Compact(const Columns<const T>& x, const at::Tensor& to) const {
    const Columns<T> out = {Data<T>(to), x.width, x.width};
    tensor::ParallelFor(a_.rows(), [&](int64_t begin, int64_t end) {
      ScaleRows(x, static_cast<const T*>(nullptr), out, begin, end);
    });
    return {out.data, out.stride, out.width};
  }

  at::Tensor Filled(const at::Tensor& own, const Fill& fill) const {
    const int64_t rows = own.size(0);
    at::Tensor all = at::empty({a_.columns, own.size(1)}, own.options());
    all.narrow(0, 0, rows).copy_(own);
    fill(all.narrow(0, 0, rows), all.narrow(0, rows, a_.columns - rows));
    return all;
  }

  template <typename T>
  at::Tensor TimesOf(const at::Tensor& x) const;
  template <typename Source, typename T>
  at::Tensor LayerMeanOf(const at::Tensor& x, int64_t layers, const Fill& fill) const;

  at::Tensor On(at::Device device, at::ScalarType type) const;

  const Csr a_;
  const std::vector<int64_t> begins_;
  const LayerStorage storage_;
  const Scale row_, column_;
  // As CSR tensors: one for each device and type that asked for it. Forward and backward passes may
  // ask from different threads.
  mutable std::mutex mutex_;
  mutable std::vector<at::Tensor> copies_;
};

template <typename T>
at::Tensor SparseOperator::Matrix::TimesOf(const at::Tensor& x) const {
  const at::Tensor in = x.contiguous();
  const int64_t width = x.size(1);
  const at::Tensor out = at::empty({a_.rows(), width}, in.options());
  const bool as_it_is = a_.column_scale.empty() && width <= kPanel;
  const at::Tensor packed =
      as_it_is ? in : at::empty({a_.columns, std::min(width, kPanel)}, in.options());
  for (int64_t at = 0; at < width; at += kPanel) {
    const int64_t w = std::min(kPanel, width - at);
    if (!as_it_is)
      Pack<T, T>(a_.columns, {in.const_data_ptr<T>() + at, width, w}, {Data<T>(packed), w, w});
    RunAll(GatherSum<T, T, T>{.matrix = &a_,
                              .source = {packed.const_data_ptr<T>(), w, w},
                              .add = {},
                              .before = row_.As<T>(),
                              .out = {Data<T>(out) + at, width, w}});
  }
  return out;
}

// With y = C z, C the column scale and R the row scale: y <- C (x + R B y), at last
// (x + R B y) / (L + 1).
template <typename Source, typename T>
at::Tensor SparseOperator::Matrix::LayerMeanOf(const at::Tensor& x, int64_t layers,
                                               const Fill& fill) const {
  const at::Tensor in = x.contiguous();
  if (layers == 0) return in.clone();
  const int64_t width = x.size(1), rows = a_.rows();
  const at::Tensor out = at::empty_like(in);
  const auto table = [&] {
    return at::empty({a_.columns * std::min(width, kPanel)}, in.options().dtype(TypeOf<Source>()));
  };
  at::Tensor y = table(), next = layers > 1 ? table() : at::Tensor();
  const at::Tensor kept = width > kPanel ? at::empty({rows * kPanel}, in.options()) : at::Tensor();
  for (int64_t at = 0; at < width; at += kPanel) {
    const int64_t w = std::min(kPanel, width - at);
    Columns<const T> start = {in.const_data_ptr<T>() + at, width, w};
    if (width > kPanel) start = Compact(start, kept);
    const auto bring = [&](const at::Tensor& panel) {
      const at::Tensor own = panel.narrow(0, 0, rows * w).view({rows, w});
      const int64_t others = a_.columns - rows;
      if (fill) fill(own, panel.narrow(0, rows * w, others * w).view({others, w}));
    };
    Pack<Source, T>(rows, start, {Data<Source>(y), w, w});
    for (int64_t l = 1; l < layers; ++l) {
      bring(y);
      RunAll(GatherSum<Source, T, Source>{.matrix = &a_,
                                          .source = {Data<Source>(y), w, w},
                                          .add = start,
                                          .before = row_.As<T>(),
                                          .after = column_.As<T>(),
                                          .out = {Data<Source>(next), w, w}});
      std::swap(y, next);
    }
    bring(y);
    RunAll(GatherSum<Source, T, T>{.matrix = &a_,
                                   .source = {Data<Source>(y), w, w},
                                   .add = start,
                                   .before = row_.As<T>(),
                                   .factor = T(1) / static_cast<T>(layers + 1),
                                   .out = {Data<T>(out) + at, width, w}});
  }
  return out;
}

at::Tensor SparseOperator::Matrix::On(at::Device device, at::ScalarType type) const {
  const std::lock_guard lock(mutex_);
  for (const at::Tensor& copy : copies_)
    if (copy.device() == device && copy.scalar_type() == type) return copy;
  // 32-bit offsets where they suffice: half the bytes to read.
  const auto index = a_.entries() <= std::numeric_limits<int32_t>::max() ? at::kInt : at::kLong;
  std::vector<double> weights;
  for (int64_t row = 0; row < a_.rows(); ++row)
    for (int64_t k = a_.offsets[static_cast<size_t>(row)];
         k < a_.offsets[static_cast<size_t>(row) + 1]; ++k)
      weights.push_back(a_.Weight(row, k));
  const auto to = [&](const auto& host, at::ScalarType as) {
    return at::tensor(host, as).to(device);
  };
  Silence silence;
  const c10::WarningUtils::WarningHandlerGuard quiet(&silence);
  return copies_.emplace_back(at::_sparse_csr_tensor_unsafe(
      to(a_.offsets, index), to(a_.indices, index), to(weights, type), {a_.rows(), a_.columns},
      at::TensorOptions(type).device(device).layout(at::kSparseCsr)));
}

SparseOperator::SparseOperator(Csr a, bool symmetric, LayerStorage storage) {
  CheckMatrix(a);
  if (!symmetric) backward_ = std::make_shared<const Matrix>(Transpose(a), storage);
  forward_ = std::make_shared<const Matrix>(std::move(a), storage);
  if (symmetric) backward_ = forward_;
}

at::Tensor SparseOperator::Multiply(const at::Tensor& x) const {
  return tensor::ApplyLinear(
      x, [this](const at::Tensor& v) { return forward_->Times(v); },
      [back = backward_](const at::Tensor& gradient) { return back->Times(gradient); });
}

at::Tensor SparseOperator::LayerMean(const at::Tensor& x, int64_t layers) const {
  return tensor::ApplyLinear(
      x, [&](const at::Tensor& v) { return forward_->LayerMean(v, layers); },
      [back = backward_, layers](const at::Tensor& gradient) {
        return back->LayerMean(gradient, layers);
      });
}

at::Tensor SparseOperator::PartLayerMean(const at::Tensor& x, int64_t layers,
                                         const Fill& fill) const {
  return forward_->LayerMean(x, layers, fill);
}

at::Tensor SparseOperator::MultiplyByOperators(const at::Tensor& x) const {
  return tensor::ApplyLinear(
      x, [this](const at::Tensor& v) { return forward_->TimesByOperators(v); },
      [back = backward_](const at::Tensor& gradient) { return back->TimesByOperators(gradient); });
}

at::Tensor SparseOperator::LayerMeanByOperators(const at::Tensor& x, int64_t layers) const {
  return tensor::ApplyLinear(
      x, [&](const at::Tensor& v) { return forward_->LayerMeanByOperators(v, layers); },
      [back = backward_, layers](const at::Tensor& gradient) {
        return back->LayerMeanByOperators(gradient, layers);
      });
}

}  // namespace whyrec::nn
