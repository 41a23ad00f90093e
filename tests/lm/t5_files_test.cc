// T5 folders: configurations of both eras, weights that do not fit, and the way back into the
// reference library.
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "src/lm/json_file.h"
#include "tests/base/error_of.h"
#include "tests/golden/folder.h"
#include "tests/lm/t5_golden.h"
#include "tests/store/temporary.h"

namespace whyrec::lm {
namespace {

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

nlohmann::json OldConfig() { return JsonFile(kGolden / "t5/config.json").json(); }

T5Config LoadFrom(const nlohmann::json& json) {
  const Temporary folder;
  WriteJson(folder / "config.json", json);
  return LoadT5Config(folder.path());
}

TEST(T5Config, OfBothEras) {
  const T5Config old = LoadT5Config(kGolden / "t5"), newer = LoadT5Config(kGolden / "t5_v11");
  EXPECT_EQ(old.heads, 3);
  EXPECT_EQ(old.d_ff, 24);
  EXPECT_FALSE(old.gated);
  EXPECT_TRUE(old.tied && old.scaled_head);
  EXPECT_TRUE(newer.gated);
  EXPECT_FALSE(newer.tied || newer.scaled_head);  // "tie_word_embeddings" is true there
}

TEST(T5Config, OlderFilesSayLess) {
  nlohmann::json json = OldConfig();
  for (const char* key : {"feed_forward_proj", "dense_act_fn", "is_gated_act", "num_decoder_layers",
                          "relative_attention_max_distance", "decoder_start_token_id"})
    json.erase(key);
  json["pad_token_id"] = 7;
  const T5Config v10 = LoadFrom(json);
  EXPECT_FALSE(v10.gated);
  EXPECT_EQ(v10.decoder_layers, 2);
  EXPECT_EQ(v10.max_distance, 128);
  EXPECT_EQ(v10.start, 7);  // the pad token starts the decoder
  json["feed_forward_proj"] = "gated-gelu";
  json["tie_word_embeddings"] = false;
  json["decoder_start_token_id"] = 0;
  const T5Config v11 = LoadFrom(json);
  EXPECT_TRUE(v11.gated);
  EXPECT_FALSE(v11.tied || v11.scaled_head);
  EXPECT_EQ(v11.start, 0);
}

TEST(T5Config, OtherNetworksAreErrorsThatNameTheKey) {
  const auto error = [](const char* key, const nlohmann::json& value) {
    nlohmann::json json = OldConfig();
    json[key] = value;
    return ErrorOf([&] { LoadFrom(json); });
  };
  EXPECT_HAS(error("model_type", "bart"), "\"model_type\" is \"bart\"");
  EXPECT_HAS(error("feed_forward_proj", "gated-silu"), "\"feed_forward_proj\" is \"gated-silu\"");
  EXPECT_HAS(error("dense_act_fn", "gelu"), "\"dense_act_fn\" is \"gelu\"");
  EXPECT_HAS(error("is_gated_act", true), "\"is_gated_act\" is true");
  EXPECT_HAS(error("num_heads", nullptr), "lacks \"num_heads\"");
  EXPECT_HAS(error("d_kv", "eight"), "\"d_kv\"");
}

TEST(T5Files, LoadNamesTheTensorThatDoesNotFit) {
  const Temporary folder;
  const auto error = [&](const store::TensorMap& tensors) {
    store::WriteSafetensors(folder / "model.safetensors", tensors);
    nn::Parameters parameters;
    T5 model(LoadT5Config(kGolden / "t5"), parameters);
    return ErrorOf([&] { model.Load(folder.path()); });
  };
  const auto whole = store::ReadSafetensors(kGolden / "t5");
  const std::string wo = "encoder.block.1.layer.1.DenseReluDense.wo.weight";
  const std::string cross =
      "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
  auto tensors = whole;
  for (const char* copy :
       {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
    tensors.emplace(copy, whole.at("shared.weight"));
  tensors.emplace(cross, whole.at(wo));
  EXPECT_EQ(error(tensors), "no error");
  tensors.emplace("encoder.block.1.layer.1.DenseReluDense.wi_1.weight", whole.at(wo));
  EXPECT_HAS(error(tensors), "unknown tensor 'encoder.block.1.layer.1.DenseReluDense.wi_1");
  tensors = whole;
  tensors.erase(wo);
  EXPECT_HAS(error(tensors), "lacks tensor '" + wo);
  tensors.emplace(wo, whole.at("shared.weight"));
  EXPECT_HAS(error(tensors), "[64, 16], the configuration asks for [16, 24]");
}

// Such a model is no T5 of ours: it would run, and answer wrongly.
TEST(T5Files, CopiesThatDifferAreErrors) {
  const Temporary folder;
  for (const std::string name : {"lm_head.weight", "decoder.embed_tokens.weight"}) {
    auto tensors = store::ReadSafetensors(kGolden / "t5");
    HostTensor other = HostTensor::Zeros(DType::kF32, {64, 16});
    tensors.emplace(name, other);
    store::WriteSafetensors(folder / "model.safetensors", tensors);
    nn::Parameters parameters;
    T5 model(LoadT5Config(kGolden / "t5"), parameters);
    EXPECT_HAS(ErrorOf([&] { model.Load(folder.path()); }),
               "'" + name + "' differs from 'shared.weight'");
  }
}

// Saved, the models give the same logits here and, where WHYREC_PYTHON names an interpreter with
// transformers, there.
TEST(T5Files, SavedFoldersLoadHereAndInTheReference) {
  const c10::NoGradGuard no_grad;
  const char* python = std::getenv("WHYREC_PYTHON");
  for (const char* form : {"t5", "t5_v11"}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
      const Temporary folder;
      T5Golden golden(form, dtype);
      const at::Tensor memory =
          golden.model.Encode(golden.model.Embed(golden.Get("ids")), golden.Mask(), {});
      const at::Tensor logits =
          golden.model.Decode(golden.Get("inputs"), memory, golden.Mask(), {});
      golden.model.Save(folder.path());
      nn::Parameters parameters(dtype);
      T5 back(LoadT5Config(folder.path()), parameters);
      back.Load(folder.path());
      EXPECT_EQ(back.config().gated, golden.model.config().gated);
      for (const auto& [path, parameter] : parameters.all())
        EXPECT_EQ(Difference(parameter, golden.parameters.Get(path)), 0) << path;
      if (python == nullptr || dtype == at::kDouble) continue;
      store::WriteSafetensors(folder / "expected.safetensors",
                              {{"ids", golden.tensors.at("ids")},
                               {"mask", golden.tensors.at("mask")},
                               {"inputs", golden.tensors.at("inputs")},
                               {"logits", tensor::ToHost(logits)}});
      EXPECT_EQ(std::system(Cat("'", python, "' '", (kGolden / "check_roundtrip.py").string(),
                                "' '", folder.path().string(), "'")
                                .c_str()),
                0);
    }
  }
  if (python == nullptr) GTEST_SKIP() << "WHYREC_PYTHON is not set: not read by transformers";
}

}  // namespace
}  // namespace whyrec::lm
