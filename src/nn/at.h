// The narrow set of ATen headers that models are written over (never torch/torch.h).
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>
