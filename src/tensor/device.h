// Where tensors live: "cpu", "cuda", "cuda:1", or "auto" (a GPU if there is one).
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace whyrec::tensor {

// Opens LibTorch's CUDA library on the first call. When there is no usable device, `reason` says
// why.
bool CudaAvailable(std::string* reason = nullptr);
int CudaDevices();
// The device of that name; "auto" and "cuda" mean the first GPU, so a rank passes what DeviceOfRank
// returns (device_name.h). Error(kUsage) for an unknown name, Error(kLaunch) when the device does
// not exist.
c10::Device ChooseDevice(const std::string& name);

// "fp32", "bf16", or "auto": bf16 on a GPU, fp32 on a CPU. Error(kUsage) for another name.
c10::ScalarType ChooseDtype(const std::string& name, c10::Device device);

}  // namespace whyrec::tensor
