// Where tensors live: "cpu", "cuda", "cuda:1", or "auto" (a GPU if there is one).
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace whyrec::tensor {

// Opens LibTorch's CUDA library at the first question; why not, when there is no usable device.
bool CudaAvailable(std::string* reason = nullptr);
int CudaDevices();
// One by name; "auto" and "cuda" mean the first, so ranks give what DeviceOfRank says
// (device_name.h). Error(kUsage) for an unknown name, Error(kLaunch) when it is not there.
c10::Device ChooseDevice(const std::string& name);

// "fp32", "bf16", or "auto": bf16 on a GPU, fp32 on a CPU. Error(kUsage) for another name.
c10::ScalarType ChooseDtype(const std::string& name, c10::Device device);

}  // namespace whyrec::tensor
