// Description of one collective call: ranks compare it to detect that they call different
// operations, and error messages print it.
#pragma once

#include <cstddef>
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

// Must be equal on all ranks. Trivially copyable: it is sent as bytes.
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

// The sum of the sizes. Error(kInternal) unless there is one per rank and none is negative.
int64_t Total(const Sizes& sizes, int ranks);

// Where the block of `rank` begins when blocks of these sizes lie one behind the other.
int64_t Offset(const Sizes& sizes, int rank);

// The byte at `offset`, to be written to only where `base` may be.
std::byte* At(const void* base, int64_t offset);

// What a communicator that works at once returns from StartAllReduce.
struct Done final : Pending {
  void Wait() override {}
};

}  // namespace whyrec::cluster
