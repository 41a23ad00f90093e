// Parameters and their start values: closed forms, and the generator itself.
#include "src/nn/parameters.h"

#include <gtest/gtest.h>

#include "src/base/error.h"

namespace whyrec::nn {
namespace {

TEST(Parameters, KeepOrderAndNameTheNearestPath) {
  Parameters p(at::kDouble);
  p.Add("encoder.block.0.wi", {2, 3});
  p.Add("encoder.block.1.wi", {4}, false);
  EXPECT_EQ(p.Count(), 10);
  EXPECT_EQ(p.all()[1].first, "encoder.block.1.wi");
  EXPECT_TRUE(p.Get("encoder.block.0.wi").requires_grad());
  EXPECT_FALSE(p.Get("encoder.block.1.wi").requires_grad());
  EXPECT_EQ(p.Get("encoder.block.0.wi").scalar_type(), at::kDouble);
  EXPECT_TRUE(p.Has("encoder.block.1.wi"));
  EXPECT_FALSE(p.Has("encoder.block.1"));
  EXPECT_THROW(p.Add("encoder.block.1.wi", {4}), Error);
  try {
    p.Get("encoder.block.1.wo");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("nearest is 'encoder.block.1.wi'"), std::string::npos);
  }
}

TEST(Parameters, ValuesAreDrawnByPathInBlocks) {
  Parameters p, q(at::kDouble);
  const at::Tensor a = p.Add("a", {200, 100}), b = p.Add("b", {200, 100});
  const at::Tensor same = q.Add("a", {100, 200});
  FillNormal(a, "a", 3, 0.5);
  FillNormal(b, "b", 3, 0.5);
  FillNormal(same, "a", 3, 0.5);
  const float* values = a.const_data_ptr<float>();
  for (const int64_t block : {0, 1}) {  // each of 2^14 values has its own stream
    Rng rng(3, "a", 0, static_cast<uint64_t>(block));
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_FLOAT_EQ(values[(block << 14) + i], static_cast<float>(0.5 * rng.Normal()));
      EXPECT_FLOAT_EQ(static_cast<float>(same.const_data_ptr<double>()[(block << 14) + i]),
                      values[(block << 14) + i]);
    }
  }
  EXPECT_NEAR(a.std().item<double>(), 0.5, 0.01);
  EXPECT_NEAR((a * b).mean().item<double>(), 0, 0.01);
  FillUniform(a, "a", 3, 0.25);
  EXPECT_NEAR(a.max().item<double>(), 0.25, 1e-3);
  EXPECT_NEAR(a.min().item<double>(), -0.25, 1e-3);
  EXPECT_NEAR(a.mean().item<double>(), 0, 0.005);
  Fill(a, 2);
  EXPECT_EQ(a.sum().item<double>(), 40000);
  EXPECT_TRUE(a.requires_grad());
}

}  // namespace
}  // namespace whyrec::nn
