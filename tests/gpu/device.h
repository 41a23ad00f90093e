// Tests that need a GPU: skipped visibly where there is none, with the reason.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "src/nn/at.h"
#include "src/tensor/device.h"

namespace whyrec {

// Golden files: in the checkout, or beside a bundle (launch/bundle.sh).
inline std::filesystem::path Golden() {
  const char* folder = std::getenv("WHYREC_SOURCE_DIR");
  return std::filesystem::path(folder != nullptr ? folder : WHYREC_SOURCE_DIR) / "tests/golden";
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    if (!tensor::CudaAvailable(&reason)) GTEST_SKIP() << "no GPU: " << reason;
  }
};

// Largest difference relative to the larger of 1 and the largest entry.
inline double Difference(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  const at::Tensor a = got.detach().to(at::kCPU, at::kDouble);
  const at::Tensor b = want.detach().to(at::kCPU, at::kDouble);
  return (a - b).abs().max().item<double>() / std::max(1.0, b.abs().max().item<double>());
}

struct Precision {
  at::ScalarType dtype;
  double outputs, gradients;  // tolerances against fp32 on the CPU
};
constexpr Precision kPrecisions[] = {{at::kFloat, 2e-5, 1e-4}, {at::kBFloat16, 5e-2, 2e-1}};

}  // namespace whyrec
