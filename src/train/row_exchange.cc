#include "src/train/row_exchange.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.h"
#include "src/tensor/dist_ops.h"

namespace whyrec::train {
namespace {

int64_t Sum(const cluster::Sizes& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
}

cluster::Sizes Times(cluster::Sizes sizes, int64_t factor) {
  for (int64_t& size : sizes) size *= factor;
  return sizes;
}

}  // namespace

RowExchange::RowExchange(cluster::Communicator& comm, std::span<const Place> wanted)
    : comm_(comm), asks_(static_cast<size_t>(comm.size()), 0), serves_(asks_) {
  WR_CHECK(std::ranges::is_sorted(wanted), "wanted rows are not in order");
  std::vector<int64_t> rows;
  for (const Place& place : wanted) {
    ++asks_.at(static_cast<size_t>(place.owner));
    rows.push_back(place.row);
  }
  const cluster::Sizes one(asks_.size(), sizeof(int64_t));
  comm.AllToAll(asks_.data(), one, serves_.data(), one);
  std::vector<int64_t> served(static_cast<size_t>(Sum(serves_)));
  comm.AllToAll(rows.data(), Times(asks_, sizeof(int64_t)), served.data(),
                Times(serves_, sizeof(int64_t)));
  const int64_t* next = served.data();
  for (const int64_t count : serves_) {
    served_.push_back(at::tensor(at::IntArrayRef(next, static_cast<size_t>(count)), at::kLong));
    next += count;
  }
}

int64_t RowExchange::wanted() const { return Sum(asks_); }

at::Tensor RowExchange::Swap(const at::Tensor& rows, const cluster::Sizes& send,
                             const cluster::Sizes& receive, at::Tensor out) {
  const int64_t bytes = rows.size(1) * static_cast<int64_t>(rows.element_size());
  WR_CHECK(rows.is_contiguous() && out.is_contiguous(), "rows with gaps");
  comm_.AllToAll(rows.const_data_ptr(), Times(send, bytes), out.mutable_data_ptr(),
                 Times(receive, bytes), tensor::PlaceOf(rows));
  sent_bytes_ += (Sum(send) - send[static_cast<size_t>(comm_.rank())]) * bytes;
  return out;
}

void RowExchange::Get(const at::Tensor& own, const at::Tensor& out) {
  const at::Tensor all = at::cat(served_).to(own.device());
  Swap(own.index_select(0, all), serves_, asks_, out);
}

void RowExchange::Add(const at::Tensor& from, const at::Tensor& own) {
  at::Tensor back = at::empty({Sum(serves_), from.size(1)}, from.options());
  Swap(from.contiguous(), asks_, serves_, back);
  int64_t first = 0;
  for (const at::Tensor& rows : served_) {
    const int64_t count = rows.size(0);
    at::Tensor(own).index_add_(0, rows.to(own.device()), back.narrow(0, first, count));
    first += count;
  }
}

}  // namespace whyrec::train
