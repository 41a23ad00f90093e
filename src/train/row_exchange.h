// Rows of a table that is distributed over ranks, read where they are needed, and gradients brought
// back to them.
#pragma once

#include <span>
#include <vector>

#include "cluster/collective/communicator.h"
#include "src/base/node_map.h"
#include "src/nn/at.h"

namespace whyrec::train {

// One list of wanted rows for each rank. The same lists serve any number of Get and Add. All ranks
// call every function, in the same order.
class RowExchange {
 public:
  // `wanted`: ascending; a rank may want its own rows, or none.
  RowExchange(cluster::Communicator& comm, std::span<const Place> wanted);

  int64_t wanted() const;
  // own [rows of this rank, w] -> out [wanted, w], row i the i-th wanted one. `out` is contiguous.
  void Get(const at::Tensor& own, const at::Tensor& out);
  // own[row] += the row in `from` [wanted, w] of every rank that wanted it, ranks in order: the
  // same bits in every run.
  void Add(const at::Tensor& from, const at::Tensor& own);
  int64_t sent_bytes() const { return sent_bytes_; }  // to other ranks, of rows

 private:
  at::Tensor Swap(const at::Tensor& rows, const cluster::Sizes& send, const cluster::Sizes& receive,
                  at::Tensor out);

  cluster::Communicator& comm_;
  cluster::Sizes asks_, serves_;    // rows from, and for, each rank
  std::vector<at::Tensor> served_;  // for each rank: this rank's rows that it wants, I64
  int64_t sent_bytes_ = 0;
};

}  // namespace whyrec::train
