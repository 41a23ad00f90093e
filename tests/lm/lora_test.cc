// Adapters against peft on tiny random weights (tests/golden/make_lora.py), and against themselves.
#include "src/lm/lora.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "src/lm/json_file.h"
#include "src/lm/phi.h"
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

const std::vector<std::string> kLinear = {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"};

struct Adapted {
  Adapted(const std::string& base, const LoraConfig& config, at::ScalarType dtype = at::kFloat,
          at::ScalarType adapter_dtype = at::kFloat)
      : weights(dtype),
        adapters(adapter_dtype),
        model(LoadPhiConfig(kGolden / base), weights),
        lora(model, config, adapters) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Load(kGolden / base);
  }
  Adapted(const std::string& base, const std::string& adapter, at::ScalarType dtype = at::kFloat,
          at::ScalarType adapter_dtype = at::kFloat)
      : Adapted(base, LoadLoraConfig(kGolden / adapter), dtype, adapter_dtype) {
    lora.Load(kGolden / adapter);
  }
  at::Tensor Run(const at::Tensor& ids) const {
    return model.Hidden(ids, at::arange(ids.size(0)), CausalAttention({ids.size(0)}), ids.size(0));
  }

  nn::Parameters weights, adapters;
  Phi model;
  Lora lora;
};

at::Tensor TextLoss(const at::Tensor& logits, const at::Tensor& ids) {
  const int64_t n = ids.size(0) - 1;
  return at::cross_entropy_loss(logits.narrow(0, 0, n), ids.narrow(0, 1, n), {},
                                at::Reduction::Sum);
}

class LoraGolden : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor Want(const std::string& name) { return tensor::View(golden_.at(name)); }
  void Check(const at::Tensor& got, const std::string& name) {
    const double share = ShareOfBound(got, golden_, name);
    EXPECT_LT(share, 1) << name;
    most_ = std::max(most_, share);
  }
  ~LoraGolden() override { std::printf("largest share of a bound: %.2g\n", most_); }

  store::TensorMap golden_ = store::ReadSafetensors(kGolden / "lora_golden.safetensors");
  double most_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Types, LoraGolden, testing::Values(at::kFloat, at::kDouble),
                         [](const auto& info) { return info.index == 0 ? "fp32" : "fp64"; });

TEST_P(LoraGolden, LogitsGradientsAndMergedLogitsArePefts) {
  const at::ScalarType dtype = GetParam();
  Adapted adapted("phi", "lora", dtype, dtype);
  const at::Tensor ids = Want("causal.ids");
  const at::Tensor logits = adapted.model.Logits(adapted.Run(ids));
  Check(SomeRows(logits), "causal.logits");
  TextLoss(logits, ids).backward();
  EXPECT_EQ(adapted.adapters.all().size(), 8u);
  for (const auto& [path, p] : adapted.adapters.all()) Check(p.grad(), "causal.grad." + path);
  adapted.lora.Merge();
  Check(SomeRows(adapted.model.Logits(adapted.Run(ids))), "causal.merged");
}

// rslora, rank_pattern, alpha_pattern, all linear maps, a scalar head.
TEST_P(LoraGolden, ScalarHeadIsPefts) {
  const at::ScalarType dtype = GetParam();
  Adapted adapted("phi", "lora_score", dtype, dtype);
  const at::Tensor ids = Want("score.ids");
  const at::Tensor last = adapted.Run(ids).narrow(0, ids.size(0) - 1, 1);
  const at::Tensor logit = at::linear(last, adapted.lora.score());
  Check(logit, "score.logits");
  logit.sum().backward();
  EXPECT_EQ(adapted.adapters.all().size(), 17u);
  for (const auto& [path, p] : adapted.adapters.all()) Check(p.grad(), "score.grad." + path);
}

// A split model's adapter over the fused one: parts are blocks of one A and one B.
TEST_P(LoraGolden, SplitTargetsBecomeBlocksOfFusedMaps) {
  const at::ScalarType dtype = GetParam();
  Adapted adapted("llama_as_phi", "lora_split", dtype, dtype);
  const at::Tensor ids = Want("split.ids");
  const at::Tensor logits = adapted.model.Logits(adapted.Run(ids));
  Check(SomeRows(logits), "split.logits");
  TextLoss(logits, ids).backward();
  const auto grad = [&](const std::string& path) { return adapted.adapters.Get(path).grad(); };
  for (const int layer : {0, 1}) {
    const std::string at = Cat("model.layers.", layer, "."), want = "split.grad." + at;
    const at::Tensor a = grad(at + "self_attn.qkv_proj.lora_A.weight");
    const at::Tensor b = grad(at + "self_attn.qkv_proj.lora_B.weight");
    ASSERT_EQ(a.size(0), 6);  // q and v; 32, 16, 16 rows of q, k, v
    Check(a.narrow(0, 0, 3), want + "self_attn.q_proj.lora_A.weight");
    Check(a.narrow(0, 3, 3), want + "self_attn.v_proj.lora_A.weight");
    Check(b.narrow(0, 0, 32).narrow(1, 0, 3), want + "self_attn.q_proj.lora_B.weight");
    Check(b.narrow(0, 48, 16).narrow(1, 3, 3), want + "self_attn.v_proj.lora_B.weight");
    Check(grad(at + "mlp.gate_up_proj.lora_A.weight"), want + "mlp.up_proj.lora_A.weight");
    Check(grad(at + "mlp.gate_up_proj.lora_B.weight").narrow(0, 40, 40),
          want + "mlp.up_proj.lora_B.weight");
  }
  // Written, it is an adapter of the fused model.
  const Temporary folder;
  adapted.lora.Save(folder.path());
  const LoraConfig fused = LoadLoraConfig(folder.path());
  EXPECT_EQ(fused.targets, (std::vector<std::string>{"qkv_proj", "o_proj", "gate_up_proj"}));
  EXPECT_EQ(fused.rank_pattern, (std::map<std::string, int64_t>{{"qkv_proj", 6}}));
  EXPECT_EQ(fused.alpha_pattern, (std::map<std::string, double>{{"qkv_proj", 18}}));
  Adapted again("llama_as_phi", fused, dtype, dtype);
  again.lora.Load(folder.path());
  EXPECT_EQ(Difference(again.Run(ids), adapted.Run(ids).detach()), 0);
}

// B starts at zero, so the adapter adds nothing and A gets no gradient in the first backward pass.
TEST(Lora, AtTheStartTheOutputIsTheBasesAndOnlyBHasAGradient) {
  const at::Tensor ids = SomeIds(20);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    nn::Parameters weights(dtype);
    Phi base(LoadPhiConfig(kGolden / "phi"), weights);
    base.Load(kGolden / "phi");
    Adapted adapted("phi", {.targets = kLinear}, dtype);
    adapted.lora.Initialise(11);
    const at::Tensor hidden = adapted.Run(ids);
    EXPECT_TRUE(hidden.equal(base.Hidden(ids, at::arange(20), CausalAttention({20}), 20)));
    adapted.model.CausalLoss(hidden.narrow(0, 0, 19), ids.narrow(0, 1, 19)).sum.backward();
    for (const auto& [path, p] : adapted.adapters.all()) {
      EXPECT_EQ(p.scalar_type(), at::kFloat);
      EXPECT_EQ(p.grad().abs().max().item<float>() == 0, path.ends_with("lora_A.weight")) << path;
    }
    for (const auto& [path, p] : adapted.weights.all()) EXPECT_FALSE(p.grad().defined()) << path;
  }
}

// Kaiming-uniform with a = sqrt(5): U(-1/sqrt(in), 1/sqrt(in)), whose deviation is bound/sqrt(3).
TEST(Lora, InitialValues) {
  Adapted adapted("phi", {.rank = 64, .modules_to_save = {"score"}});
  adapted.lora.Initialise(1);
  const at::Tensor a = adapted.adapters.Get("model.layers.1.self_attn.qkv_proj.lora_A.weight");
  EXPECT_LE(a.abs().max().item<double>(), 0.125);
  EXPECT_GT(a.abs().max().item<double>(), 0.1245);
  EXPECT_NEAR(a.std().item<double>(), 0.125 / std::sqrt(3.0), 1e-3);
  EXPECT_NEAR(adapted.lora.score().std().item<double>(), 0.02, 0.006);
  EXPECT_EQ(adapted.lora.score().sizes(), (std::vector<int64_t>{1, 64}));
  EXPECT_NEAR((LoraConfig{.rank = 16, .alpha = 8, .rslora = true}.scale()), 2, 1e-15);
}

TEST(Lora, DropoutOnlyWhenTraining) {
  Projection p{.weight = at::randint(0, 1, {1, 1000}, at::kFloat)};  // 0
  p.a = at::randint(1, 2, {1, 1000}, at::kFloat);
  p.b = at::randint(1, 2, {1, 1}, at::kFloat);
  p.scale = 2;
  p.dropout = 0.25;
  const at::Tensor x = at::randint(1, 2, {400, 1000}, at::kFloat);
  EXPECT_EQ(p(x, {}).min().item<float>(), 2000);
  const nn::RowKeys keys = nn::KeysOf(nn::DrawsOf(3, 0, 0, 1), "lora", 400, x.device());
  const at::Tensor wet = p(x, keys.With(keys.rows()[0]));  // 2 x a sum of 1000 draws of 0 or 4/3
  EXPECT_NEAR(wet.mean().item<double>(), 2000, 10);
  EXPECT_NEAR(wet.std().item<double>(), 2 * std::sqrt(1000 / 3.0), 5);
}

// Weights against fp64, rounded at most twice; outputs where the network does not amplify that.
TEST(Lora, MergedWeightsAndBack) {
  const at::Tensor ids = SomeIds(30);
  struct Case {
    at::ScalarType dtype;
    double rounding, output;
  };
  for (const Case& c : {Case{at::kDouble, 1e-15, 1e-12}, Case{at::kFloat, 0x1p-22, 1e-4},
                        Case{at::kBFloat16, 0x1p-8, 0.5}}) {
    const at::ScalarType adapter = c.dtype == at::kDouble ? at::kDouble : at::kFloat;
    Adapted adapted("phi", "lora", c.dtype, adapter);
    const std::string path = "model.layers.0.self_attn.qkv_proj.";
    const at::Tensor weight = adapted.weights.Get(path + "weight"), before = weight.clone();
    const at::Tensor apart = adapted.Run(ids).detach();
    const auto wide = [&](const std::string& name) {
      return adapted.adapters.Get(path + name).detach().to(at::kDouble);
    };
    const at::Tensor delta = at::matmul(wide("lora_B.weight"), wide("lora_A.weight")) * 2;  // 8/4
    adapted.lora.Merge(true);
    EXPECT_LT(Difference(weight, before.to(at::kDouble) + delta), c.rounding);
    EXPECT_GT(Difference(weight, before), 0.1);
    EXPECT_LT(Difference(adapted.Run(ids), apart), c.output);
    adapted.lora.Unmerge();
    EXPECT_TRUE(weight.equal(before));
    EXPECT_TRUE(adapted.Run(ids).equal(apart));
    adapted.lora.Merge();
    EXPECT_THROW(adapted.lora.Unmerge(), Error);  // nothing was kept
  }
}

TEST(Lora, FoldersAreWrittenAndRead) {
  for (const std::string name : {"lora", "lora_score"}) {
    Adapted adapted("phi", name);
    const Temporary folder;
    adapted.lora.Save(folder.path());
    const LoraConfig ours = LoadLoraConfig(folder.path()), theirs = LoadLoraConfig(kGolden / name);
    EXPECT_EQ(ours.rank, theirs.rank);
    EXPECT_EQ(ours.alpha, theirs.alpha);
    EXPECT_EQ(ours.rslora, theirs.rslora);
    EXPECT_EQ(ours.rank_pattern, theirs.rank_pattern);
    EXPECT_EQ(ours.alpha_pattern, theirs.alpha_pattern);
    EXPECT_EQ(ours.modules_to_save, theirs.modules_to_save);
    EXPECT_EQ(ours.task_type, theirs.task_type);
    EXPECT_EQ(ours.base_model, "tiny");
    const auto got = store::ReadSafetensors(folder / "adapter_model.safetensors");
    const auto want = store::ReadSafetensors(kGolden / name / "adapter_model.safetensors");
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [key, host] : want)
      EXPECT_TRUE(tensor::View(got.at(key)).equal(tensor::View(host))) << key;
  }
}

TEST(Lora, ConfigurationsThatChangeTheNumbersAreRefusedByName) {
  const nlohmann::json whole = JsonFile(kGolden / "lora/adapter_config.json").json();
  const Temporary folder;
  const auto error = [&](const nlohmann::json& change) {
    nlohmann::json changed = whole;
    changed.merge_patch(change);
    WriteJson(folder / "adapter_config.json", changed);
    return ErrorOf([&] { LoadLoraConfig(folder.path()); });
  };
  EXPECT_EQ(error({{"target_modules", "all-linear"}}), "no error");
  const std::vector<std::pair<nlohmann::json, std::string>> cases = {
      {{{"peft_type", "IA3"}}, "peft_type"},
      {{{"use_dora", true}}, "use_dora"},
      {{{"fan_in_fan_out", true}}, "fan_in_fan_out"},
      {{{"bias", "lora_only"}}, "\"bias\""},
      {{{"lora_bias", true}}, "lora_bias"},
      {{{"layers_to_transform", {0}}}, "layers_to_transform"},
      {{{"init_lora_weights", "pissa"}}, "init_lora_weights"},
      {{{"modules_to_save", {"lm_head"}}}, "modules_to_save"},
      {{{"target_modules", ".*_proj"}}, "regular expressions"},
      {{{"rank_pattern", {{"^model", 3}}}}, "regular expressions"},
      {{{"r", 0}}, "\"r\""},
      {{{"r", nullptr}}, "lacks \"r\""},
      {{{"lora_dropout", 1.5}}, "lora_dropout"}};
  for (const auto& [change, key] : cases)
    EXPECT_NE(error(change).find(key), std::string::npos) << error(change);
}

TEST(Lora, KeysThatDoNotFitAreNamed) {
  const auto whole = store::ReadSafetensors(kGolden / "lora/adapter_model.safetensors");
  const Temporary folder;
  Adapted adapted("phi", "lora");
  const auto error = [&](const store::TensorMap& tensors) {
    store::WriteSafetensors(folder / "adapter_model.safetensors", tensors);
    return ErrorOf([&] { adapted.lora.Load(folder.path()); });
  };
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const std::string layer = "base_model.model.model.layers.";
  const std::string b = layer + "1.self_attn.o_proj.lora_B.weight";
  EXPECT_EQ(error(whole), "no error");
  store::TensorMap tensors = whole;
  tensors.erase(b);
  has(error(tensors), "lacks '" + b);
  tensors = whole;
  tensors.emplace(layer + "0.self_attn.o_proj.lora_magnitude_vector", whole.at(b));
  has(error(tensors), "unknown key '" + layer + "0.self_attn.o_proj.lora_magnitude_vector'");
  tensors = whole;
  tensors.emplace(layer + "2.self_attn.o_proj.lora_B.weight", whole.at(b));
  has(error(tensors), "adapts a module that the model lacks; the adapter was trained over another");
  tensors = whole;
  tensors.erase(b);
  tensors.emplace(b, whole.at(layer + "1.self_attn.qkv_proj.lora_B.weight"));
  has(error(tensors),
      "is [128, 4], the model asks for [64, 4]; the adapter was trained over another");
  has(ErrorOf([&] { Adapted("phi", LoraConfig{.targets = {"c_attn"}, .base_model = "gpt2"}); }),
      "no module of the model is called 'c_attn'; the adapter is for gpt2");
  has(ErrorOf([&] {
        Adapted("phi", LoraConfig{.targets = {"qkv_proj", "q_proj"}});
      }),
      "and its part q_proj");
}

// What we write loads in the reference libraries, with equal logits.
TEST(Lora, RoundTripThroughPeft) {
  const char* python = std::getenv("WHYREC_PYTHON");
  if (python == nullptr)
    GTEST_SKIP() << "WHYREC_PYTHON names no Python with transformers 4.49 and peft 0.14";
  const Temporary folder;
  Adapted adapted("phi", {.rank = 3, .alpha = 5, .targets = kLinear});
  nn::Parameters others, bases;
  Phi model(LoadPhiConfig(kGolden / "phi"), bases);
  model.Load(kGolden / "phi");
  Lora scorer(model, {.rslora = true, .modules_to_save = {"score"}}, others);
  for (const auto* parameters : {&adapted.adapters, &others})
    for (const auto& [path, p] : parameters->all()) nn::FillNormal(p, path, 2, 0.2);
  adapted.lora.Save(folder / "adapter");
  scorer.Save(folder / "scorer");
  adapted.model.Save(folder / "model");
  const at::Tensor ids = SomeIds(40);
  const at::Tensor hidden = model.Hidden(ids, at::arange(40), CausalAttention({40}), 40);
  nn::Parameters plain;
  Phi base(LoadPhiConfig(folder / "model"), plain);
  base.Load(folder / "model");
  const auto host = [](const at::Tensor& t) { return tensor::ToHost(t.detach()); };
  store::TensorMap io;
  io["ids"] = host(ids);
  io["base"] = host(base.Logits(base.Hidden(ids, at::arange(40), CausalAttention({40}), 40)));
  io["adapted"] = host(adapted.model.Logits(adapted.Run(ids)));
  io["score"] = host(at::linear(hidden.narrow(0, 39, 1), scorer.score()).squeeze(0));
  store::WriteSafetensors(folder / "io.safetensors", io);
  const auto script = kGolden / "check_roundtrip_phi.py";
  EXPECT_EQ(std::system(Cat(python, " ", script, " ", folder.path()).c_str()), 0);
}

}  // namespace
}  // namespace whyrec::lm
