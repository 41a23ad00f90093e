// Gradients of large tables of which a batch reads few rows, summed over the ranks row by row.
#pragma once

#include "cluster/collective/communicator.h"
#include "src/nn/at.h"

namespace whyrec::train {

// Rows of `gradient` [n,d] that are not all zero, ascending: i64 [k]. None where it is undefined.
at::Tensor TouchedRows(const at::Tensor& gradient);

// Bytes that a rank receives, on average over the ranks.
int64_t DenseBytes(int64_t values, int64_t value_bytes, int ranks);
int64_t RowBytes(int64_t rows_of_all, int64_t width, int64_t value_bytes, int ranks);

// `gradient` [n,d] of every rank becomes the sum over the ranks, added in rank order, so it has the
// bits of a dense sum in rank order. `rows`: this rank's TouchedRows; counts[r]: those of rank r.
// The rows travel in `wire` and are added in the gradient's type. -> bytes that arrived here
int64_t SumRows(at::Tensor gradient, const at::Tensor& rows, const cluster::Sizes& counts,
                at::ScalarType wire, cluster::Communicator& comm);

}  // namespace whyrec::train
