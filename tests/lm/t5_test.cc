// T5 against transformers on tiny random weights (tests/golden/make_t5.py), and against itself.
#include "src/lm/t5.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"

namespace whyrec::lm {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(WHYREC_SOURCE_DIR) / "tests/golden";

struct Golden {
  explicit Golden(at::ScalarType dtype = at::kFloat)
      : tensors(store::ReadSafetensors(kGolden / "t5_golden.safetensors")),
        parameters(dtype),
        model(LoadT5Config(kGolden / "t5"), parameters) {
    model.Load(kGolden / "t5");
    at::set_num_threads(1);  // operators this small only lose by a second thread
  }
  at::Tensor Get(const std::string& name) { return tensor::View(tensors.at(name)); }
  at::Tensor Mask() { return Get("mask").to(at::kBool); }
  at::Tensor Memory() {
    return model.Encode(model.Embed(Get("ids")) + Get("added").to(parameters.dtype()), Mask(),
                        false);
  }

  store::TensorMap tensors;
  nn::Parameters parameters;
  T5 model;
};

// Largest difference relative to the largest entry.
double Difference(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  const at::Tensor difference = (got.detach().to(at::kDouble) - want.to(at::kDouble)).abs().max();
  return difference.item<double>() / std::max(1.0, want.abs().max().item<double>());
}

TEST(T5, BucketsAreTheReferences) {
  auto tensors = store::ReadSafetensors(kGolden / "t5_golden.safetensors");
  for (const bool encoder : {true, false}) {
    const auto want = tensors.at(encoder ? "buckets.encoder" : "buckets.decoder").values<int64_t>();
    for (int64_t d = -300; d <= 300; ++d) {
      EXPECT_EQ(T5Bucket(d, encoder, 32, 128), want[static_cast<size_t>(d + 300)]) << d;
    }
  }
}

TEST(T5, EncoderLogitsLossAndGradientsAreTheReferences) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    Golden golden(dtype);
    EXPECT_LT(Difference(golden.Memory(), golden.Get("memory")), 1e-5);
    for (const std::string kind : {"open", "masked"}) {
      const bool masked = kind == "masked";
      std::optional<at::Tensor> memory_mask;
      if (masked) memory_mask = golden.Mask();
      const at::Tensor logits =
          golden.model.Decode(golden.Get("inputs"), golden.Memory(), memory_mask, false);
      EXPECT_LT(Difference(logits, golden.Get(kind + ".logits")), 1e-5);
      const at::Tensor loss =
          at::cross_entropy_loss(logits.flatten(0, 1), golden.Get("targets").flatten(), {},
                                 at::Reduction::Sum, masked ? 0 : -100);
      EXPECT_NEAR(loss.item<double>() / golden.Get(kind + ".loss").item<double>(), 1, 1e-5);
      for (const auto& [path, parameter] : golden.parameters.all()) {
        parameter.mutable_grad() = at::Tensor();
      }
      loss.backward();
      for (const auto& [path, parameter] : golden.parameters.all()) {
        EXPECT_LT(Difference(parameter.grad(), golden.Get(kind + ".grad." + path)), 3e-5) << path;
      }
    }
  }
}

TEST(T5, CachedStepsEqualOneDecode) {
  Golden golden;
  const at::Tensor memory = golden.Memory();
  const int64_t beams = 4, length = 9;
  for (const bool masked : {false, true}) {
    std::optional<at::Tensor> memory_mask;
    if (masked) memory_mask = golden.Mask();
    T5::Cache cache = golden.model.Start(memory, memory_mask, beams);
    at::Tensor rows = at::randint(2, 64, {3 * beams, 1}, at::kLong);
    at::Tensor logits = golden.model.Step(cache, rows.squeeze(1), at::arange(3 * beams));
    for (int64_t t = 1; t < length; ++t) {  // every beam continues some beam of its own user
      const at::Tensor origin = at::randint(0, beams, {3, beams}, at::kLong)
                                    .add_(at::arange(3).unsqueeze(1) * beams)
                                    .flatten();
      const at::Tensor next = at::randint(2, 64, {3 * beams}, at::kLong);
      rows = at::cat({rows.index_select(0, origin), next.unsqueeze(1)}, 1);
      logits = golden.model.Step(cache, next, origin);
    }
    std::optional<at::Tensor> wide_mask;
    if (masked) wide_mask = memory_mask->repeat_interleave(beams, 0);
    const at::Tensor whole =
        golden.model.Decode(rows, memory.repeat_interleave(beams, 0), wide_mask, false);
    EXPECT_LT(Difference(logits, whole.select(1, length - 1).detach()), 2e-6);
  }
}

// Isrf section 14, check 5.
TEST(T5, PaddingMattersUnlessCrossAttentionIsMasked) {
  Golden golden;
  const at::Tensor ids = golden.Get("ids").narrow(0, 1, 1), inputs = golden.Get("inputs");
  const auto logits = [&](int64_t width, bool masked) {
    const at::Tensor mask = golden.Mask().narrow(0, 1, 1).narrow(1, 0, width);
    const at::Tensor memory =
        golden.model.Encode(golden.model.Embed(ids.narrow(1, 0, width)), mask, false);
    return golden.model.Decode(inputs.narrow(0, 1, 1), memory,
                               masked ? std::optional(mask) : std::nullopt, false);
  };
  EXPECT_GT(Difference(logits(9, false), logits(40, false).detach()), 1e-3);
  EXPECT_LT(Difference(logits(9, true), logits(40, true).detach()), 2e-6);
}

TEST(T5, DropoutOnlyWhenTraining) {
  Golden golden;
  const at::Tensor x = golden.model.Embed(golden.Get("ids"));
  EXPECT_EQ(Difference(golden.model.Encode(x, golden.Mask(), false),
                       golden.model.Encode(x, golden.Mask(), false).detach()),
            0);
  const at::Tensor wet = golden.model.Encode(x, golden.Mask(), true);
  const double zeros = (wet == 0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(zeros, 0.1, 0.03);  // the stack output itself is dropped, too
}

TEST(T5, InitialisationHasTheStatedSpreadAndOneValuePerPath) {
  T5Config config{.vocabulary = 512, .d_model = 64, .d_kv = 16, .d_ff = 128, .heads = 8};
  nn::Parameters one, two(at::kDouble);
  two.Add("another", {3});
  T5 model(config, one), same(config, two, "t5.");
  EXPECT_EQ(one.Count() + 3, two.Count());
  model.Initialise(1);
  same.Initialise(1);
  const auto spread = [&](const std::string& path) { return one.Get(path).std().item<double>(); };
  const std::string block = "decoder.block.3.layer.";
  EXPECT_NEAR(spread("shared.weight"), 1, 0.02);
  EXPECT_NEAR(spread(block + "0.SelfAttention.q.weight"), 1 / 32.0, 0.001);
  EXPECT_NEAR(spread(block + "1.EncDecAttention.k.weight"), 1 / 8.0, 0.004);
  EXPECT_NEAR(spread(block + "1.EncDecAttention.o.weight"), std::pow(128, -0.5), 0.004);
  EXPECT_NEAR(spread(block + "2.DenseReluDense.wi.weight"), 1 / 8.0, 0.004);
  EXPECT_NEAR(spread(block + "2.DenseReluDense.wo.weight"), std::pow(128, -0.5), 0.004);
  EXPECT_EQ(one.Get("encoder.final_layer_norm.weight").sum().item<float>(), 64);
  EXPECT_EQ(two.Get("another").sum().item<double>(), 0);
  EXPECT_GT(Difference(one.Get(block + "0.SelfAttention.k.weight"),
                       one.Get(block + "0.SelfAttention.v.weight").detach()),
            0.1);  // every path has its own stream
}

TEST(T5, SizeOfT5Small) {  // isrf 6.1
  nn::Parameters parameters;
  T5 model(T5Config(), parameters);
  EXPECT_EQ(parameters.Count(), 60506624);
}

TEST(T5, LoadNamesTheTensorThatDoesNotFit) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "t5_wrong";
  std::filesystem::create_directories(folder);
  const auto error = [&](const store::TensorMap& tensors) -> std::string {
    store::WriteSafetensors(folder / "model.safetensors", tensors);
    nn::Parameters parameters;
    T5 model(LoadT5Config(kGolden / "t5"), parameters);
    try {
      model.Load(folder);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kData);
      return e.what();
    }
    return "";
  };
  const auto whole = store::ReadSafetensors(kGolden / "t5");
  const std::string wo = "encoder.block.1.layer.1.DenseReluDense.wo.weight";
  auto tensors = whole;
  tensors.emplace("lm_head.weight", whole.at("shared.weight"));
  EXPECT_EQ(error(tensors), "");
  tensors.emplace("encoder.block.1.layer.1.DenseReluDense.wi_1.weight", whole.at(wo));
  EXPECT_NE(error(tensors).find("unknown tensor 'encoder.block.1.layer.1.DenseReluDense.wi_1"),
            std::string::npos);
  tensors = whole;
  tensors.erase(wo);
  EXPECT_NE(error(tensors).find("lacks tensor '" + wo), std::string::npos);
  tensors.emplace(wo, whole.at("shared.weight"));
  EXPECT_NE(error(tensors).find("[64, 16], the configuration asks for [16, 24]"),
            std::string::npos);
}

}  // namespace
}  // namespace whyrec::lm
