// Shared by the communicators: element-wise reduction, and how a buffer is divided among ranks.
#pragma once

#include <cstdint>
#include <span>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {

// Error(kInternal) unless AllReduce supports the type.
void CheckReducible(DType dtype);

// into[i] = ((from[0][i] op from[1][i]) op from[2][i]) ... `into` may be one of `from`. kBF16 and
// kF16 are added in fp32 and rounded once, to nearest even. kMax propagates NaN from any rank.
void ReduceInOrder(void* into, std::span<const void* const> from, int64_t count, DType dtype,
                   Reduce op);

// Rank r works on values [SliceBegin(count, size, r), SliceBegin(count, size, r + 1)).
inline int64_t SliceBegin(int64_t count, int size, int rank) {
  return count / size * rank + count % size * rank / size;
}

}  // namespace whyrec::cluster
