// Collectives with a backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include "cluster/collective/communicator.h"

namespace whyrec::tensor {

// Where a tensor's bytes are, as collectives want to know it; on a GPU its default stream is used.
cluster::Place PlaceOf(const at::Tensor& tensor);

// All ranks' rows [n_r, ...] concatenated along dim 0 in rank order; n_r may differ, the other
// sizes may not. The backward pass returns this rank's slice of the gradient without communication:
// every rank computes the same loss on the gathered rows, and parameter gradients are summed over
// ranks afterwards. `communicator` need not outlive the call.
at::Tensor AllGatherGrad(const at::Tensor& rows, cluster::Communicator& communicator);

}  // namespace whyrec::tensor
