// Phi against transformers on tiny random weights (tests/golden/make_phi.py, make_phi_new.py), and
// against itself.
#include "src/lm/phi.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/lm/json_file.h"
#include "src/lm/lora.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/base/error_of.h"
#include "tests/golden/bound.h"
#include "tests/golden/difference.h"
#include "tests/golden/folder.h"
#include "tests/lm/phi_inputs.h"
#include "tests/store/temporary.h"

namespace whyrec::lm {
namespace {

struct Loaded {
  explicit Loaded(const std::string& folder = "phi", at::ScalarType dtype = at::kFloat)
      : parameters(dtype), model(LoadPhiConfig(kGolden / folder), parameters, "", true) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Load(kGolden / folder);
  }
  // One sequence from position 0.
  at::Tensor Run(const at::Tensor& ids) const {
    return model.Hidden(ids, at::arange(ids.size(0)), CausalAttention({ids.size(0)}), ids.size(0));
  }

  nn::Parameters parameters;
  Phi model;
};

TEST(Phi, LogitsLossAndGradientsAreTheReferences) {
  const auto golden = store::ReadSafetensors(kGolden / "phi_golden.safetensors");
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    double most = 0;
    for (const std::string kind : {"tied", "untied"}) {
      Loaded loaded(kind == "tied" ? "phi" : "phi_untied", dtype);
      for (const std::string length : {"40", "100"}) {  // short and long rotary factors
        const std::string key = Cat(kind, ".", length, ".");
        const auto check = [&](const at::Tensor& got, const std::string& name) {
          const double share = ShareOfBound(got, golden, key + name);
          EXPECT_LT(share, 1) << key << name;
          most = std::max(most, share);
        };
        const at::Tensor ids = tensor::View(golden.at(key + "ids"));
        const at::Tensor logits = loaded.model.Logits(loaded.Run(ids));
        check(SomeRows(logits), "logits");
        const at::Tensor loss =
            at::cross_entropy_loss(logits.narrow(0, 0, ids.size(0) - 1),
                                   ids.narrow(0, 1, ids.size(0) - 1), {}, at::Reduction::Sum);
        check(loss.unsqueeze(0), "loss");
        for (const auto& [path, p] : loaded.parameters.all()) p.mutable_grad() = at::Tensor();
        loss.backward();
        for (const auto& [path, p] : loaded.parameters.all()) {
          if (p.dim() == 1) {
            check(p.grad(), "grad." + path);
          } else {
            check(p.grad().slice(0, 0, {}, 37), "grad." + path + ".rows");
            check(p.grad().sum(0), "grad." + path + ".sum");
          }
        }
      }
    }
    std::printf("%s: largest share of a bound: %.2g\n", c10::toString(dtype), most);
  }
}

// Two implementations in bf16 differ by some roundings of 2^-8 on the way.
TEST(Phi, Bf16LogitsAreNearTheReferences) {
  const auto golden = store::ReadSafetensors(kGolden / "phi_golden.safetensors");
  double most = 0;
  for (const std::string kind : {"tied", "untied"}) {
    Loaded loaded(kind == "tied" ? "phi" : "phi_untied", at::kBFloat16);
    for (const std::string length : {"40", "100"}) {
      const auto want = [&](const std::string& name) {
        return tensor::View(golden.at(Cat(kind, ".", length, ".", name)));
      };
      const at::Tensor logits = loaded.model.Logits(loaded.Run(want("ids")));
      EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
      most = std::max(most, Difference(SomeRows(logits), want("bf16")));
      EXPECT_LT(Difference(SomeRows(logits), want("bf16")), 0.02) << kind << length;
    }
  }
  RecordProperty("bf16", Cat(most));
}

TEST(PhiConfig, BothFormsOfTheFileAreRead) {
  const PhiConfig published = LoadPhiConfig(kGolden / "phi");
  EXPECT_EQ(published, LoadPhiConfig(kGolden / "phi_new"));
  const PhiConfig want{.vocabulary = 512,
                       .width = 64,
                       .inner = 80,
                       .layers = 2,
                       .heads = 4,
                       .key_heads = 2,
                       .positions = 256,
                       .original_positions = 64,
                       .short_factor = {1, 1, 1.1, 1.25, 1.5, 2},
                       .long_factor = {1, 1.3, 2.4, 5.5, 11, 29},
                       .bos = 499,
                       .pad = 499,
                       .eos = {498, 499}};
  EXPECT_EQ(published, want);
  const Temporary folder;
  SavePhiConfig(folder.path(), want, at::kBFloat16);
  EXPECT_EQ(LoadPhiConfig(folder.path()), want);
}

TEST(PhiConfig, WhatWouldChangeTheNetworkIsRefusedByName) {
  const nlohmann::json whole = JsonFile(kGolden / "phi/config.json").json();
  const Temporary folder;
  const auto error = [&](const nlohmann::json& change) {
    nlohmann::json changed = whole;
    changed.merge_patch(change);
    WriteJson(folder / "config.json", changed);
    return ErrorOf([&] { LoadPhiConfig(folder.path()); });
  };
  EXPECT_EQ(error({{"sliding_window", 256}}), "no error");  // covers every position
  const std::vector<std::pair<nlohmann::json, std::string>> cases = {
      {{{"model_type", "llama"}}, "model_type"},
      {{{"hidden_act", "gelu"}}, "hidden_act"},
      {{{"attention_bias", true}}, "attention_bias"},
      {{{"mlp_bias", true}}, "mlp_bias"},
      {{{"resid_pdrop", 0.1}}, "resid_pdrop"},
      {{{"sliding_window", 255}}, "sliding_window"},
      {{{"head_dim", 32}}, "head_dim"},
      {{{"num_key_value_heads", 3}}, "num_key_value_heads"},
      {{{"vocab_size", nullptr}}, "vocab_size"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config"},
      {{{"rope_scaling", {{"type", "yarn"}}}}, "rope_scaling.type"},
      {{{"rope_scaling", {{"attention_factor", 2.0}}}}, "rope_scaling.attention_factor"},
      {{{"rope_scaling", {{"factor", 2.0}}}}, "rope_scaling.factor"},
      {{{"rope_scaling", {{"long_factor", nullptr}}}}, "long_factor"},
      {{{"rope_scaling", {{"short_factor", {1.0}}}}}, "6 fit the head size"}};
  for (const auto& [change, key] : cases)
    EXPECT_NE(error(change).find(key), std::string::npos) << error(change);
}

// The published model's count and peft's for rank 8, from shapes alone: nothing is allocated.
TEST(Phi, SizeOfPhi4Mini) {
  nn::Parameters parameters(at::kBFloat16, at::Device(at::kMeta));
  Phi model(PhiConfig(), parameters);
  EXPECT_EQ(parameters.Count(), 3836021760);
  for (const auto& [path, p] : parameters.all()) EXPECT_FALSE(p.requires_grad()) << path;
  nn::Parameters adapters(at::kFloat, at::Device(at::kMeta));
  EXPECT_EQ(Lora(model, LoraConfig(), adapters).Count(), 3670016);
  nn::Parameters others(at::kFloat, at::Device(at::kMeta)), base(at::kFloat, at::kMeta);
  Phi second(PhiConfig(), base);
  LoraConfig all{.targets = {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}};
  EXPECT_EQ(Lora(second, all, others).Count(), 11534336);
}

// LongRoPE's formulas with Phi-4-mini's numbers, in fp64.
TEST(Rope, FrequenciesMagnitudeAndWhatPassesThrough) {
  EXPECT_NEAR(LongRopeMagnitude(131072, 4096), 1.1902380714238083, 1e-15);
  EXPECT_EQ(LongRopeMagnitude(4096, 4096), 1);
  const PhiConfig config;
  EXPECT_EQ(config.rotary(), 96);
  std::vector<double> factors;
  for (int j = 0; j < 48; ++j) factors.push_back(1 + j);
  const at::Tensor frequencies = InverseFrequencies(96, 10000, factors);
  ASSERT_EQ(frequencies.numel(), 48);
  const int64_t position = 1234;
  const double m = LongRopeMagnitude(131072, 4096);
  const at::Tensor x = at::randint(-9, 9, {1, 2, 128}, at::kDouble);
  const at::Tensor turned = Rotate(
      x, MakeRotation(at::tensor(std::vector<int64_t>{position}), frequencies, m, at::kDouble));
  const auto value = [](const at::Tensor& t, int64_t head, int64_t i) {
    return t[0][head][i].item<double>();
  };
  for (const int64_t head : {0, 1}) {
    for (int64_t j = 0; j < 48; ++j) {
      const double angle = position / (factors[static_cast<size_t>(j)] * std::pow(1e4, j / 48.0));
      const double u = value(x, head, j), w = value(x, head, j + 48);
      // Angles are fp32: a last bit of 1234.
      EXPECT_NEAR(value(turned, head, j), m * (u * std::cos(angle) - w * std::sin(angle)), 5e-3);
      EXPECT_NEAR(value(turned, head, j + 48), m * (w * std::cos(angle) + u * std::sin(angle)),
                  5e-3);
    }
    for (int64_t i = 96; i < 128; ++i) EXPECT_EQ(value(turned, head, i), value(x, head, i));
  }
}

TEST(Phi, TheCallersTotalLengthPicksTheFactors) {
  Loaded loaded("phi", at::kDouble);
  const at::Tensor ids = SomeIds(65);
  const at::Tensor whole = loaded.Run(ids);  // 65 tokens: long factors
  const auto first = [&](int64_t total) {
    return loaded.model.Hidden(ids.narrow(0, 0, 20), at::arange(20), CausalAttention({20}), total);
  };
  EXPECT_LT(Difference(first(65), whole.narrow(0, 0, 20).detach()), 1e-12);
  EXPECT_GT(Difference(first(64), whole.narrow(0, 0, 20).detach()), 1e-3);
}

TEST(Phi, PackedSequencesEqualSeparateOnes) {
  Loaded loaded("phi", at::kDouble);
  const at::Tensor ids = SomeIds(31);
  const std::vector<int64_t> lengths = {7, 1, 12, 11};
  std::vector<at::Tensor> positions, separate;
  int64_t begin = 0;
  for (const int64_t n : lengths) {
    positions.push_back(at::arange(n));
    separate.push_back(loaded.Run(ids.narrow(0, begin, n)).detach());
    begin += n;
  }
  const at::Tensor packed =
      loaded.model.Hidden(ids, at::cat(positions), CausalAttention(lengths), 12);
  EXPECT_LT(Difference(packed, at::cat(separate)), 1e-12);
}

// A shared prefix, and branches that attend to it and to themselves only.
TEST(Phi, BranchesUnderATreeMaskEqualSeparateSequences) {
  const auto golden = store::ReadSafetensors(kGolden / "phi_golden.safetensors");
  // States are as far off as the logits that the reference makes of them.
  const double largest = tensor::View(golden.at("tied.40.logits")).abs().max().item<double>();
  const double single = Fp32Bound(golden, "tied.40.logits", largest) / largest;
  for (const auto& [dtype, tolerance] : {std::pair{at::kFloat, single}, {at::kDouble, 1e-12}}) {
    Loaded loaded("phi", dtype);
    const int64_t prefix = 9;
    const std::vector<int64_t> branches = {4, 1, 6};
    const at::Tensor ids = SomeIds(20);
    const at::Tensor mask = at::zeros({20, 20}, at::kBool);
    mask.narrow(1, 0, prefix).fill_(true);
    mask.narrow(0, 0, prefix).narrow(1, 0, prefix).tril_();
    std::vector<at::Tensor> positions = {at::arange(prefix)}, separate;
    int64_t begin = prefix;
    for (const int64_t n : branches) {
      mask.narrow(0, begin, n).narrow(1, begin, n).copy_(at::ones({n, n}, at::kBool).tril());
      positions.push_back(at::arange(prefix, prefix + n));
      const at::Tensor own = at::cat({ids.narrow(0, 0, prefix), ids.narrow(0, begin, n)});
      separate.push_back(loaded.Run(own).narrow(0, prefix, n).detach());
      begin += n;
    }
    const at::Tensor packed =
        loaded.model.Hidden(ids, at::cat(positions), MaskedAttention(mask), 15);
    EXPECT_LT(Difference(packed.narrow(0, prefix, 11), at::cat(separate)), tolerance);
  }
}

TEST(Phi, LossByBlocksIsTheLossOfAllRows) {
  nn::Parameters parameters(at::kDouble), trained(at::kDouble);
  Phi frozen(LoadPhiConfig(kGolden / "phi"), parameters);
  Phi free(LoadPhiConfig(kGolden / "phi"), trained, "", true);
  for (const Phi* model : {&frozen, &free}) {
    const_cast<Phi*>(model)->Load(kGolden / "phi");
    const at::Tensor hidden = at::randint(-3, 3, {11, 64}, at::kDouble).requires_grad_();
    const at::Tensor targets = at::randint(0, 512, {11}, at::kLong);
    const at::Tensor want =
        at::cross_entropy_loss(model->Logits(hidden), targets, {}, at::Reduction::Sum);
    (want * 0.25).backward();
    const at::Tensor gradient = hidden.grad().clone();
    hidden.mutable_grad() = at::Tensor();
    const nn::LossSum got = model->CausalLoss(hidden, targets, 4);
    EXPECT_EQ(got.count, 11);
    EXPECT_LT(Difference(got.sum, want.detach()), 1e-12);
    (got.sum * 0.25).backward();
    EXPECT_LT(Difference(hidden.grad(), gradient), 1e-12);
  }
}

// Gradients of adapters with dropout, layers kept and layers run again.
TEST(Phi, RecomputedLayersGiveTheSameGradients) {
  std::vector<std::vector<at::Tensor>> gradients;
  for (const bool recompute : {false, true}) {
    nn::Parameters base(at::kDouble), adapters(at::kDouble);
    Phi model(LoadPhiConfig(kGolden / "phi"), base);
    model.Load(kGolden / "phi");
    Lora lora(model, {.dropout = 0.3}, adapters);
    for (const auto& [path, p] : adapters.all()) nn::FillNormal(p, path, 7, 0.2);
    model.RecomputeLayers(recompute);
    const std::vector<nn::RowRun> rows = {{0, 30}};
    const at::Tensor hidden =
        model.Hidden(at::arange(30), at::arange(30), CausalAttention({30}), 30,
                     nn::KeysOf(nn::DrawsOf(5, 0, 0, 1), "phi", rows, at::kCPU));
    (hidden * hidden * at::arange(64)).sum().backward();
    gradients.emplace_back();
    gradients.back().push_back(hidden.detach());
    for (const auto& [path, p] : adapters.all()) gradients.back().push_back(p.grad());
  }
  ASSERT_EQ(gradients[0].size(), 9u);
  for (size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_EQ(Difference(gradients[1][i], gradients[0][i]), 0) << i;
}

TEST(Phi, FoldersAreWrittenAndRead) {
  const Temporary folder;
  Loaded loaded("phi_untied", at::kBFloat16);
  loaded.model.Save(folder.path());
  const auto error = [&](const PhiConfig& config) {
    nn::Parameters parameters;
    Phi model(config, parameters);
    return ErrorOf([&] { model.Load(folder.path()); });
  };
  PhiConfig config = LoadPhiConfig(folder.path());
  EXPECT_EQ(config, loaded.model.config());
  nn::Parameters parameters(at::kBFloat16);
  Phi again(config, parameters, "phi.");
  again.Load(folder.path());
  for (const auto& [name, tensor] : loaded.model.table())
    EXPECT_TRUE(tensor.equal(parameters.Get("phi." + name))) << name;

  config.tied_head = true;  // a head beside the tied table is a copy
  EXPECT_EQ(error(config), "no error");
  config.layers = 1;
  EXPECT_NE(error(config).find("unknown tensor 'model.layers.1"), std::string::npos);
  config = LoadPhiConfig(folder.path());
  store::TensorMap tensors = store::ReadSafetensors(folder.path());
  tensors.erase("lm_head.weight");
  const Temporary headless;
  store::WriteSafetensors(headless / "model.safetensors", tensors);
  EXPECT_NE(ErrorOf([&] { again.Load(headless.path()); }).find("lacks tensor 'lm_head.weight'"),
            std::string::npos);
}

TEST(Phi, InitialisationHasTheStatedSpread) {
  nn::Parameters parameters;
  Phi model(LoadPhiConfig(kGolden / "phi"), parameters);
  model.Initialise(3);
  EXPECT_NEAR(parameters.Get("model.embed_tokens.weight").std().item<double>(), 0.02, 5e-4);
  EXPECT_NEAR(parameters.Get("model.layers.1.mlp.down_proj.weight").std().item<double>(), 0.02,
              1e-3);
  EXPECT_EQ(parameters.Get("model.norm.weight").sum().item<float>(), 64);
}

}  // namespace
}  // namespace whyrec::lm
