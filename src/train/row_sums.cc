#include "src/train/row_sums.h"

#include <ATen/ops/empty.h>

#include <numeric>

#include "src/tensor/dist_ops.h"

namespace whyrec::train {
namespace {

// The ranks' rows of `own` [k_r, ...] in rank order.
at::Tensor Gather(const at::Tensor& own, const cluster::Sizes& counts,
                  cluster::Communicator& comm) {
  std::vector<int64_t> shape = own.sizes().vec();
  shape[0] = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  at::Tensor all = at::empty(shape, own.options());
  const int64_t row_bytes = own.dim() > 1 ? own.size(1) * static_cast<int64_t>(own.element_size())
                                          : static_cast<int64_t>(own.element_size());
  cluster::Sizes bytes = counts;
  for (int64_t& b : bytes) b *= row_bytes;
  comm.AllGatherInto(own.const_data_ptr(), all.mutable_data_ptr(), bytes, tensor::PlaceOf(own));
  return all;
}

}  // namespace

at::Tensor TouchedRows(const at::Tensor& gradient) {
  if (!gradient.defined()) return at::empty({0}, at::TensorOptions().dtype(at::kLong));
  return gradient.ne(0).any(1).nonzero().squeeze(1);
}

int64_t DenseBytes(int64_t values, int64_t value_bytes, int ranks) {
  return 2 * values * value_bytes * (ranks - 1) / ranks;
}

int64_t RowBytes(int64_t rows_of_all, int64_t width, int64_t value_bytes, int ranks) {
  const auto index_bytes = static_cast<int64_t>(sizeof(int64_t));
  return rows_of_all * (width * value_bytes + index_bytes) * (ranks - 1) / ranks;
}

int64_t SumRows(at::Tensor gradient, const at::Tensor& rows, const cluster::Sizes& counts,
                at::ScalarType wire, cluster::Communicator& comm) {
  const at::Tensor own = gradient.index_select(0, rows).to(wire).contiguous();
  const at::Tensor all_rows = Gather(rows.contiguous(), counts, comm);
  const at::Tensor all_values = Gather(own, counts, comm);
  gradient.index_fill_(0, rows, 0);
  int64_t first = 0;
  for (const int64_t n : counts) {
    gradient.index_add_(0, all_rows.narrow(0, first, n),
                        all_values.narrow(0, first, n).to(gradient.scalar_type()));
    first += n;
  }
  return static_cast<int64_t>(all_rows.nbytes() + all_values.nbytes() - rows.nbytes() -
                              own.nbytes());
}

}  // namespace whyrec::train
