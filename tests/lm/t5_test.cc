// T5 against transformers on tiny random weights, and its initialisation.
#include "src/lm/t5.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/golden/folder.h"
#include "tests/lm/t5_golden.h"

namespace whyrec::lm {
namespace {

TEST(T5, BucketsAreTheReferences) {
  auto tensors = store::ReadSafetensors(kGolden / "t5_golden.safetensors");
  for (const bool encoder : {true, false}) {
    const auto want = tensors.at(encoder ? "buckets.encoder" : "buckets.decoder").values<int64_t>();
    for (int64_t d = -300; d <= 300; ++d) {
      EXPECT_EQ(T5Bucket(d, encoder, 32, 128), want[static_cast<size_t>(d + 300)]) << d;
    }
  }
}

// form, is cross-attention masked (and padding ignored by the loss), dtype
class Parity : public testing::TestWithParam<std::tuple<const char*, bool, at::ScalarType>> {
 protected:
  std::string form() const { return std::get<0>(GetParam()); }
  bool masked() const { return std::get<1>(GetParam()); }
  at::ScalarType dtype() const { return std::get<2>(GetParam()); }
  std::string kind() const { return masked() ? "masked" : "open"; }
  at::Tensor Logits(const T5Golden& golden) const {
    std::optional<at::Tensor> memory_mask;
    if (masked()) memory_mask = golden.Mask();
    return golden.model.Decode(golden.Get("inputs"), golden.Memory(), memory_mask, {});
  }
};

TEST_P(Parity, EncoderLogitsLossAndGradientsAreTheReferences) {
  T5Golden golden(form(), dtype());
  double most = 0;
  const auto check = [&](const at::Tensor& got, const std::string& name) {
    const double share = ShareOfBound(got, golden.tensors, name, 1e-12);
    EXPECT_LT(share, 1) << name;
    most = std::max(most, share);
  };
  check(golden.Memory(), "memory");
  const at::Tensor logits = Logits(golden);
  check(logits, kind() + ".logits");
  const at::Tensor loss =
      at::cross_entropy_loss(logits.flatten(0, 1), golden.Get("targets").flatten(), {},
                             at::Reduction::Sum, masked() ? 0 : -100);
  check(loss.reshape({1}), kind() + ".loss");
  loss.backward();
  for (const auto& [path, parameter] : golden.parameters.all())
    check(parameter.grad(), kind() + ".grad." + path);
  std::printf("largest share of a bound: %.2g\n", most);
  EXPECT_EQ(golden.parameters.all().size(), golden.model.table().size());
}

INSTANTIATE_TEST_SUITE_P(
    T5, Parity,
    testing::Values(std::tuple("t5", false, at::kFloat), std::tuple("t5", true, at::kFloat),
                    std::tuple("t5_v11", true, at::kFloat), std::tuple("t5", false, at::kDouble),
                    std::tuple("t5", true, at::kDouble), std::tuple("t5_v11", true, at::kDouble)));

// Rounding to eight bits of mantissa at every operator. The reference in bf16 is off by about as
// much; ours may be off by twice that.
TEST(T5, LogitsInHalfPrecision) {
  for (const char* form : {"t5", "t5_v11"}) {
    T5Golden golden(form, at::kBFloat16);
    const at::Tensor exact = golden.Get("masked.logits");
    const at::Tensor logits =
        golden.model.Decode(golden.Get("inputs"), golden.Memory(), golden.Mask(), {});
    EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
    const double reference = Difference(golden.Get("masked.logits.bf16"), exact);
    EXPECT_LT(Difference(logits, exact), 2 * reference) << form;
    EXPECT_LT(reference, 0.2) << form;
  }
}

// The published code lets the decoder read padding, so a sample's logits depend on its batch.
TEST(T5, PaddingMattersUnlessCrossAttentionIsMasked) {
  T5Golden golden;
  const at::Tensor ids = golden.Get("ids").narrow(0, 1, 1), inputs = golden.Get("inputs");
  const auto logits = [&](int64_t width, bool masked) {
    const at::Tensor mask = golden.Mask().narrow(0, 1, 1).narrow(1, 0, width);
    const at::Tensor memory =
        golden.model.Encode(golden.model.Embed(ids.narrow(1, 0, width)), mask, {});
    return golden.model.Decode(inputs.narrow(0, 1, 1), memory,
                               masked ? std::optional(mask) : std::nullopt, {});
  };
  EXPECT_GT(Difference(logits(9, false), logits(40, false)), 1e-3);
  EXPECT_LT(Difference(logits(9, true), logits(40, true)), golden.LogitBound());
}

TEST(T5, DropoutOnlyWhenTraining) {
  T5Golden golden;
  const at::Tensor x = golden.model.Embed(golden.Get("ids"));
  EXPECT_EQ(Difference(golden.model.Encode(x, golden.Mask(), {}),
                       golden.model.Encode(x, golden.Mask(), {})),
            0);
  const at::Tensor wet = golden.model.Encode(x, golden.Mask(), nn::DrawsOf(1, 0, 0, x.size(0)));
  const double zeros = (wet == 0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(zeros, 0.1, 0.03);  // the stack output itself is dropped, too
}

// A sample alone, without the padding that longer ones bring, and in other places of the network.
TEST(T5, DropoutDoesNotDependOnTheBatch) {
  for (const char* form : {"t5", "t5_v11"}) {
    T5Golden golden(form, at::kDouble);
    const at::Tensor ids = golden.Get("ids"), inputs = golden.Get("inputs"), mask = golden.Mask();
    const auto logits = [&](const at::Tensor& own_ids, const at::Tensor& own_mask,
                            const at::Tensor& own_inputs, const nn::Draws& draws) {
      const at::Tensor memory = golden.model.Encode(golden.model.Embed(own_ids), own_mask, draws);
      return golden.model.Decode(own_inputs, memory, own_mask, draws);
    };
    const int64_t samples = ids.size(0);
    const at::Tensor all = logits(ids, mask, inputs, nn::DrawsOf(5, 2, 0, samples));
    EXPECT_GT(Difference(all, logits(ids, mask, inputs, {})), 0.01);
    EXPECT_GT(Difference(all, logits(ids, mask, inputs, nn::DrawsOf(5, 3, 0, samples))), 0.01);
    for (int64_t b = 0; b < samples; ++b) {
      const int64_t length = mask[b].sum().item<int64_t>();
      const auto row = [&](const at::Tensor& x) { return x.narrow(0, b, 1); };
      const at::Tensor alone = logits(row(ids).narrow(1, 0, length), row(mask).narrow(1, 0, length),
                                      row(inputs), nn::DrawsOf(5, 2, b, 1));
      EXPECT_LT(Difference(alone, row(all)), 1e-12) << form << " " << b;
    }
  }
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
                       one.Get(block + "0.SelfAttention.v.weight")),
            0.1);  // every path has its own stream

  config.gated = true;
  config.tied = config.scaled_head = false;
  nn::Parameters gated;
  T5(config, gated).Initialise(1);
  for (const char* part : {"wi_0", "wi_1"})
    EXPECT_NEAR(gated.Get(Cat(block, "2.DenseReluDense.", part, ".weight")).std().item<double>(),
                1 / 8.0, 0.004);
  EXPECT_NEAR(gated.Get("lm_head.weight").std().item<double>(), 1, 0.02);
}

TEST(T5, PublishedSizes) {  // t5-small and google/t5-v1_1-small
  nn::Parameters small, gated;
  T5(T5Config(), small);
  EXPECT_EQ(small.Count(), 60506624);
  T5({.d_ff = 1024,
      .heads = 6,
      .encoder_layers = 8,
      .decoder_layers = 8,
      .gated = true,
      .tied = false,
      .scaled_head = false},
     gated);
  EXPECT_EQ(gated.Count(), 76961152);
}

}  // namespace
}  // namespace whyrec::lm
