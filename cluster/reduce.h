// What communicators share: the element-wise step of AllReduce and the cut of a buffer among ranks.
#pragma once

#include <cstdint>

#include "cluster/communicator.h"

namespace whyrec::cluster {

// into[i] = into[i] op from[i]; kF32, kF64 or kI64, else Error(kInternal). kMax keeps a NaN from
// either side, so that a broken rank cannot hide behind a sound one.
void Accumulate(void* into, const void* from, int64_t count, DType dtype, Reduce op);

// Rank r works on values [SliceBegin(count, size, r), SliceBegin(count, size, r + 1)).
inline int64_t SliceBegin(int64_t count, int size, int rank) { return count * rank / size; }

}  // namespace whyrec::cluster
