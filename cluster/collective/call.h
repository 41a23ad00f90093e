// What a rank calls, as the other ranks compare it and as messages name it.
#pragma once

#include <cstdint>
#include <string>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {

enum class Operation : int32_t {
  kAllReduce,
  kReduceScatter,
  kAllGatherInto,
  kAllGather,
  kAllToAll,
  kBroadcast,
  kBarrier,
  kEnd,  // the communicator's destructor
};

// Equal on all ranks, or the ranks have lost step. Plain: it travels as bytes.
struct Call {
  Operation operation = Operation::kBarrier;
  DType dtype = DType::kU8;
  Reduce reduce = Reduce::kSum;
  int32_t root = 0;
  int64_t count = 0;  // values or bytes, where all ranks must name the same number
  bool operator==(const Call&) const = default;
};

// "AllReduce(sum) of 7 F32".
std::string Describe(const Call& call);

// "rank 1 of 3 gives up Barrier, operation 17: ".
std::string GivesUp(int rank, int size, const Call& call, int64_t sequence);

// Sizes as many as ranks and none negative, else Error(kInternal); their sum.
int64_t Total(const Sizes& sizes, int ranks);

}  // namespace whyrec::cluster
