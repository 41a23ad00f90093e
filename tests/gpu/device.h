// Tests that need a GPU: skipped visibly where there is none, with the reason.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "src/nn/at.h"
#include "src/tensor/device.h"
#include "tests/golden/difference.h"

namespace whyrec {

// Files of the checkout, or of a bundle (launch/bundle.sh).
inline std::filesystem::path Source() {
  const char* folder = std::getenv("WHYREC_SOURCE_DIR");
  return folder != nullptr ? folder : WHYREC_SOURCE_DIR;
}
inline std::filesystem::path Golden() { return Source() / "tests/golden"; }

// WHYREC_GPU_TESTS_ON=cpu tries the tests themselves where there is no GPU.
inline bool OnCpuByOrder() {
  const char* device = std::getenv("WHYREC_GPU_TESTS_ON");
  return device != nullptr && std::string(device) == "cpu";
}
inline at::Device TestDevice() {
  return OnCpuByOrder() ? at::Device(at::kCPU) : at::Device(at::kCUDA, 0);
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    if (!OnCpuByOrder() && !tensor::CudaAvailable(&reason)) GTEST_SKIP() << "no GPU: " << reason;
  }
};

struct Precision {
  at::ScalarType dtype;
  double outputs, gradients;  // tolerances against fp32 on the CPU
};
// The golden weights are larger than trained ones, so that mistakes show; on them bf16 moves single
// gradients by 0.23 on a CPU too.
constexpr Precision kPrecisions[] = {{at::kFloat, 2e-5, 1e-4}, {at::kBFloat16, 5e-2, 4e-1}};

}  // namespace whyrec
