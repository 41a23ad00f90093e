// HostTensor to and from at::Tensor, without copying where both can share the bytes.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/base/host_tensor.h"

namespace whyrec::tensor {

at::ScalarType ScalarTypeOf(DType dtype);
DType DTypeOf(at::ScalarType type);  // WR_CHECK: bool and the like have no DType

// A CPU tensor over the same bytes; it keeps them alive. Bytes of a file map must not be written.
at::Tensor View(const HostTensor& host);

// The same bytes as a HostTensor; copies only when the tensor is not contiguous or not on the CPU.
HostTensor ToHost(const at::Tensor& tensor);
// Parameters by name, detached, as files of weights take them.
std::map<std::string, HostTensor> ToHost(
    const std::vector<std::pair<std::string, at::Tensor>>& named);

}  // namespace whyrec::tensor
