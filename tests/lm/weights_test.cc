// Checkpoints in and out: every way a folder can be wrong has a message of its own.
#include "src/lm/weights.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <limits>

#include "src/base/error.h"
#include "src/lm/json_file.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/base/error_of.h"
#include "tests/store/temporary.h"

namespace whyrec::lm {
namespace {

NameTable TwoParameters(at::ScalarType dtype = at::kFloat) {
  return {{"a.weight", at::zeros({2, 3}, dtype)}, {"b.bias", at::zeros({4}, dtype)}};
}

void WriteTable(const std::filesystem::path& file, const NameTable& tensors) {
  store::TensorMap map;
  for (const auto& [name, tensor] : tensors) map[name] = tensor::ToHost(tensor);
  store::WriteSafetensors(file, map);
}

const NameTable kSound = {{"a.weight", at::arange(6, at::kFloat).view({2, 3})},
                          {"b.bias", at::arange(4, at::kFloat)}};

TEST(Weights, EachFaultIsNamed) {
  const Temporary folder;
  const auto said = [&](const NameTable& published, const Dialect& dialect = {}) {
    WriteTable(folder / "model.safetensors", published);
    const std::string message =
        ErrorOf([&] { LoadWeights(folder.path(), TwoParameters(), dialect); });
    const std::string place = folder.path().string() + ": ";
    EXPECT_TRUE(message == "no error" || message.starts_with(place)) << message;
    return message == "no error" ? message : message.substr(place.size());
  };
  NameTable changed = kSound;
  EXPECT_EQ(said(changed), "no error");
  changed.pop_back();
  EXPECT_EQ(said(changed), "lacks tensor 'b.bias'");
  changed = kSound;
  changed.emplace_back("head", at::zeros({1}));
  EXPECT_TRUE(said(changed).starts_with("unknown tensor 'head'"));
  EXPECT_EQ(said(changed, {.ignored = {"he*"}}), "no error");
  EXPECT_EQ(said(changed, {.ignored = {"head"}}), "no error");
  EXPECT_TRUE(said(changed, {.ignored = {"he"}}).starts_with("unknown tensor"));
  changed = kSound;
  changed[1].second = at::zeros({5});
  EXPECT_EQ(said(changed), "'b.bias' is [5], the configuration asks for [4]");
  changed = kSound;
  changed[1].second = at::full({4}, std::numeric_limits<double>::quiet_NaN(), at::kFloat);
  EXPECT_EQ(said(changed), "'b.bias' holds values that are not finite");
  changed = kSound;
  changed.emplace_back("net.b.bias", at::zeros({4}));
  EXPECT_EQ(said(changed, {.prefixes = {"net."}}),
            "'net.b.bias' and 'b.bias' are the same parameter");
}

TEST(Weights, PrefixesAndOldEndings) {
  const Temporary folder;
  WriteTable(folder / "model.safetensors",
             {{"net.a.gamma", kSound[0].second}, {"net.b.bias", kSound[1].second}});
  const NameTable table = TwoParameters();
  LoadWeights(folder.path(), table, {.prefixes = {"net."}, .endings = {{".gamma", ".weight"}}});
  for (size_t i = 0; i < table.size(); ++i)
    EXPECT_TRUE(at::equal(table[i].second, kSound[i].second)) << table[i].first;
}

TEST(Weights, ShardsRoundTripAndAMissingShardIsNamed) {
  const Temporary folder;
  SaveWeights(folder.path(), kSound, 30);  // the second tensor does not fit beside the first
  EXPECT_TRUE(std::filesystem::exists(folder / "model-00002-of-00002.safetensors"));
  EXPECT_EQ(JsonFile(folder / "model.safetensors.index.json").json()["metadata"]["total_size"], 40);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const NameTable table = TwoParameters(dtype);
    LoadWeights(folder.path(), table);  // small integers are exact in every type
    for (size_t i = 0; i < table.size(); ++i)
      EXPECT_TRUE(at::equal(table[i].second, kSound[i].second.to(dtype))) << table[i].first;
  }
  std::filesystem::remove(folder / "model-00002-of-00002.safetensors");
  EXPECT_NE(ErrorOf([&] {
              LoadWeights(folder.path(), TwoParameters());
            }).find("model-00002-of-00002.safetensors"),
            std::string::npos);
}

TEST(JsonFile, NamesFileAndKey) {
  const Temporary folder;
  std::ofstream(folder / "config.json") << R"({"layers": 2, "act": "relu", "eos": null})";
  const JsonFile json(folder / "config.json");
  const std::string place = (folder / "config.json").string() + ": ";
  EXPECT_EQ(json.Get<int64_t>("layers"), 2);
  EXPECT_EQ(json.Get<int64_t>("eos", 7), 7);
  EXPECT_EQ(ErrorOf([&] { json.Get<int64_t>("heads"); }), place + "lacks \"heads\"");
  EXPECT_TRUE(ErrorOf([&] { json.Get<int64_t>("act"); }).starts_with(place + "\"act\": "));
  EXPECT_EQ(ErrorOf([&] { json.Expect("act", std::string("gelu")); }),
            place + "\"act\" is \"relu\"; only \"gelu\" is supported");
  EXPECT_NE(ErrorOf([&] { JsonFile(folder / "generation_config.json"); }).find("holds config.json"),
            std::string::npos);
  EXPECT_NE(ErrorOf([] { JsonFile("/no/such/folder/config.json"); }).find("no such folder"),
            std::string::npos);
  std::ofstream(folder / "list.json") << "[1]";
  EXPECT_NE(ErrorOf([&] { JsonFile(folder / "list.json"); }).find("is not a JSON object"),
            std::string::npos);
}

}  // namespace
}  // namespace whyrec::lm
