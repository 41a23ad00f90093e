// Sums gradients over the ranks.
#pragma once

#include "cluster/communicator.h"
#include "src/nn/parameters.h"

namespace whyrec::train {

// All parameters that have a gradient (the same set on every rank, since all work on one task), in
// buckets of about 32 MB. Nothing at one rank.
void SumGradients(const nn::Parameters& parameters, cluster::Communicator& comm);

// One value: the sum over the ranks.
double Sum(double value, cluster::Communicator& comm);

}  // namespace whyrec::train
