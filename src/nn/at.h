// The few ATen headers that models need. torch/torch.h is included nowhere: it costs ten times the
// compile time.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>
