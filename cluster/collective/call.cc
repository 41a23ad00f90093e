#include "cluster/collective/call.h"

#include <numeric>

namespace whyrec::cluster {

std::string Describe(const Call& call) {
  const char* op = call.reduce == Reduce::kSum ? "(sum)" : "(max)";
  switch (call.operation) {
    case Operation::kAllReduce:
      return Cat("AllReduce", op, " of ", call.count, " ", NameOf(call.dtype));
    case Operation::kReduceScatter:
      return Cat("ReduceScatter", op, " of ", call.count, " ", NameOf(call.dtype));
    case Operation::kAllGatherInto:
      return Cat("AllGatherInto of ", call.count, " bytes");
    case Operation::kAllGather:
      return "AllGather";
    case Operation::kAllToAll:
      return "AllToAll";
    case Operation::kBroadcast:
      return Cat("Broadcast of ", call.count, " bytes from ", call.root);
    case Operation::kBarrier:
      return "Barrier";
    case Operation::kEnd:
      return "the end of its work";
  }
  return Cat("operation kind ", static_cast<int>(call.operation));
}

std::string GivesUp(int rank, int size, const Call& call, int64_t sequence) {
  return Cat("rank ", rank, " of ", size, " gives up ", Describe(call), ", operation ", sequence,
             ": ");
}

int64_t Total(const Sizes& sizes, int ranks) {
  WR_CHECK(std::ssize(sizes) == ranks, sizes.size(), " sizes for ", ranks, " ranks");
  int64_t total = 0;
  for (int64_t n : sizes) {
    WR_CHECK(n >= 0, "a block of ", n);
    total += n;
  }
  return total;
}

int64_t Offset(const Sizes& sizes, int rank) {
  return std::accumulate(sizes.begin(), sizes.begin() + rank, int64_t{0});
}

std::byte* At(const void* base, int64_t offset) {
  return const_cast<std::byte*>(static_cast<const std::byte*>(base)) + offset;
}

}  // namespace whyrec::cluster
