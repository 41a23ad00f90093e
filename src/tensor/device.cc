#include "src/tensor/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include "src/base/error.h"

namespace whyrec::tensor {
namespace {

// The library registers its kernels when it is opened; the executable links the CPU part alone, so
// one binary serves both kinds of machine. Empty: opened.
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
    problem = "no CUDA device answers";
  if (reason != nullptr) *reason = problem;
  return problem.empty();
}

int CudaDevices() {
  return CudaAvailable() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0;
}

c10::Device ChooseDevice(const std::string& name) {
  if (name == "cpu") return c10::kCPU;
  if (name == "auto") return CudaAvailable() ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  int index = 0;
  if (name.starts_with("cuda:") && name.size() == 6 && name[5] >= '0' && name[5] <= '9')
    index = name[5] - '0';
  else if (name != "cuda")
    Fail(Exit::kUsage, "device '", name, "' is not one of cpu, cuda, cuda:0 to cuda:9, auto");
  std::string problem;
  if (!CudaAvailable(&problem)) Fail(Exit::kLaunch, "device ", name, ": ", problem);
  if (index >= CudaDevices())
    Fail(Exit::kLaunch, "device ", name, ": this machine has ", CudaDevices());
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

c10::ScalarType ChooseDtype(const std::string& name, c10::Device device) {
  if (name == "fp32") return c10::kFloat;
  if (name == "bf16") return c10::kBFloat16;
  if (name == "auto") return device.is_cuda() ? c10::kBFloat16 : c10::kFloat;
  Fail(Exit::kUsage, "dtype '", name, "' is not one of fp32, bf16, auto");
}

}  // namespace whyrec::tensor
