// Which device this process uses. No LibTorch types, for stages and systems.
#pragma once

#include <string>

#include "cluster/collective/communicator.h"

namespace whyrec::tensor {

// cluster::DeviceName among the devices that LibTorch sees. Opens LibTorch's CUDA library unless
// `wanted` is "cpu". Errors as there.
std::string DeviceOfRank(const std::string& wanted, const cluster::Launch& launch);

}  // namespace whyrec::tensor
