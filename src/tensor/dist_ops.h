// Collectives with a backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include "cluster/collective/communicator.h"

namespace whyrec::tensor {

// Where a tensor's bytes are, for operations on them; a device's on its default stream.
cluster::Place PlaceOf(const at::Tensor& tensor);

// The ranks' rows [n_r, ...] along dim 0 in rank order; n_r may differ, the other sizes may not.
// Backward returns the own slice of the gradient and nothing of the others': the loss built on the
// gathered rows is the same on every rank, and gradients of parameters are summed over ranks
// afterwards. `communicator` must outlive the call only.
at::Tensor AllGatherGrad(const at::Tensor& rows, cluster::Communicator& communicator);

}  // namespace whyrec::tensor
