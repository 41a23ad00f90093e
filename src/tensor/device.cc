#include "src/tensor/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include "src/base/error.h"
#include "src/tensor/device_name.h"

namespace whyrec::tensor {
namespace {

// The executable links LibTorch's CPU library only and opens the CUDA library at run time (which
// registers its kernels), so one binary serves machines with and without a GPU. Returns "" or why
// it could not be opened.
const std::string& OpenCuda() {
  static const std::string problem = [] {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return std::string();
    return Cat("libtorch_cuda.so cannot be opened: ", dlerror());
  }();
  return problem;
}

}  // namespace

bool CudaAvailable(std::string* reason) {
  std::string problem = OpenCuda();
  if (problem.empty() && at::detail::getCUDAHooks().deviceCount() == 0)
    problem = "no CUDA device responds";
  if (reason != nullptr) *reason = problem;
  return problem.empty();
}

int CudaDevices() {
  return CudaAvailable() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0;
}

std::string DeviceOfRank(const std::string& wanted, const cluster::Launch& launch) {
  if (wanted == "cpu") return wanted;
  std::string problem;
  const int visible = CudaAvailable(&problem) ? CudaDevices() : 0;
  return cluster::DeviceName(wanted, launch, visible, problem);
}

c10::Device ChooseDevice(const std::string& name) {
  return c10::Device(DeviceOfRank(name, {}));  // of a process that has the host for itself
}

c10::ScalarType ChooseDtype(const std::string& name, c10::Device device) {
  if (name == "fp32") return c10::kFloat;
  if (name == "bf16") return c10::kBFloat16;
  if (name == "auto") return device.is_cuda() ? c10::kBFloat16 : c10::kFloat;
  Fail(Exit::kUsage, "dtype '", name, "' is not one of fp32, bf16, auto");
}

}  // namespace whyrec::tensor
