// The BERT family against transformers on tiny random weights (tests/golden/make_bert.py).
#include "src/lm/bert.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/base/error_of.h"
#include "tests/golden/bound.h"
#include "tests/golden/difference.h"
#include "tests/golden/folder.h"

namespace whyrec::lm {
namespace {

BertConfig WithoutHead(BertConfig config) {
  config.head = BertConfig::Head::kNone;
  return config;
}

// Tokens text after text as given, which is the reference's order.
at::Tensor HiddenOf(const Bert& model, const std::vector<std::vector<int64_t>>& texts,
                    bool training) {
  const auto draws = training ? nn::DrawsOf(1, 0, 0, std::ssize(texts)) : nn::Draws();
  const TextPack pack = PackTexts(texts);
  std::vector<int64_t> starts(texts.size()), places;
  int64_t start = 0;
  for (const int64_t row : pack.rows) {
    starts[static_cast<size_t>(row)] = start;
    start += std::ssize(texts[static_cast<size_t>(row)]);
  }
  for (size_t t = 0; t < texts.size(); ++t)
    for (int64_t i = 0; i < std::ssize(texts[t]); ++i) places.push_back(starts[t] + i);
  return model.Hidden(pack, draws).index_select(0, at::tensor(places));
}

struct BertGolden {
  explicit BertGolden(const std::string& name, at::ScalarType dtype = at::kDouble,
                      at::ScalarType compute = at::ScalarType::Undefined, bool trainable = true)
      : name(name),
        folder(kGolden / "bert" / name),
        tensors(store::ReadSafetensors(kGolden / "bert_golden.safetensors")),
        parameters(dtype),
        model(LoadBertConfig(folder), parameters, "", trainable, compute) {
    at::set_num_threads(1);  // operators this small only lose by a second thread
    model.Load(folder);
    const auto ids = tensors.at(name + ".ids").values<int64_t>();
    for (auto from = ids.begin(); const int64_t n : tensors.at(name + ".lengths").values<int64_t>())
      texts.emplace_back(from, from + n), from += n;
  }
  at::Tensor Get(const std::string& key) const {
    return tensor::View(tensors.at(Cat(name, ".", key)));
  }
  Pooling pooling() const {
    if (name == "distilbert") return Pooling::kCls;
    return name == "roberta" ? Pooling::kEasyRec : Pooling::kMean;
  }
  at::Tensor Hidden(bool training = false) const { return HiddenOf(model, texts, training); }
  // InfoNCE: text i belongs to text i + 3.
  at::Tensor Loss() const {
    const at::Tensor x = UnitRows(model.Forward(texts, pooling(), {}));
    return at::cross_entropy_loss(x.narrow(0, 0, 3).matmul(x.narrow(0, 3, 3).t()) / 0.2,
                                  at::tensor(std::vector<int64_t>{0, 1, 2}));
  }
  // Calls visit(gradient, name) for every parameter that the loss depends on.
  template <typename Visit>
  void EachGradient(const Visit& visit) const {
    for (const auto& [path, parameter] : parameters.all()) {
      std::string key = "grad." + path;
      if (path.starts_with("mlp.dense.")) key = "grad.head." + path.substr(10);
      if (!tensors.contains(Cat(name, ".", key))) {
        EXPECT_TRUE(path.starts_with("pooler.")) << path;
        EXPECT_FALSE(parameter.grad().defined()) << path;
        continue;
      }
      EXPECT_TRUE(parameter.grad().defined()) << path;
      visit(parameter.grad(), key);
    }
  }

  std::string name;
  std::filesystem::path folder;
  store::TensorMap tensors;
  nn::Parameters parameters;
  Bert model;
  std::vector<std::vector<int64_t>> texts;
};

class BertFamily : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, BertFamily, testing::Values("bert", "distilbert", "roberta"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(BertFamily, EqualsTheReference) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    BertGolden golden(GetParam(), dtype);
    double most = 0;
    const auto check = [&](const at::Tensor& got, const std::string& key) {
      const double share = ShareOfBound(got, golden.tensors, Cat(golden.name, ".", key));
      EXPECT_LT(share, 1) << key;
      most = std::max(most, share);
    };
    check(golden.Hidden(), "hidden");
    for (const auto& [pooling, key] : std::vector<std::pair<Pooling, const char*>>{
             {Pooling::kMean, "mean"}, {Pooling::kCls, "cls"}, {Pooling::kEasyRec, "easyrec"}}) {
      if (pooling == Pooling::kEasyRec && golden.name == "distilbert") continue;
      check(golden.model.Forward(golden.texts, pooling, {}), key);
    }
    const at::Tensor loss = golden.Loss();
    check(loss.reshape({1}), "loss");
    loss.backward();
    golden.EachGradient(check);
    std::printf("%s: largest share of a bound: %.2g\n", c10::toString(dtype), most);
  }
}

// bf16 keeps 8 bits: 2^-8 a rounding, through two layers. Weights as well, or products alone over
// fp32 masters, where gradients come in fp32.
TEST_P(BertFamily, HalfPrecisionStaysNear) {
  BertGolden all(GetParam(), at::kBFloat16);
  EXPECT_EQ(all.Hidden().scalar_type(), at::kBFloat16);
  const at::Tensor vectors = all.model.Forward(all.texts, all.pooling(), {});
  EXPECT_EQ(vectors.scalar_type(), at::kFloat);
  const double hidden = Difference(all.Hidden(), all.Get("hidden"));
  EXPECT_LT(hidden, 0.03);
  EXPECT_GT(hidden, 1e-5);  // it is not fp32 in secret
  BertGolden products(GetParam(), at::kFloat, at::kBFloat16);
  EXPECT_LT(Difference(products.Hidden(), products.Get("hidden")), 0.03);
  const at::Tensor loss = products.Loss();
  EXPECT_LT(Difference(loss.reshape({1}), products.Get("loss")), 0.03);
  loss.backward();
  EXPECT_EQ(products.parameters.all()[0].second.grad().scalar_type(), at::kFloat);
  double gradients = 0;
  products.EachGradient([&](const at::Tensor& got, const std::string& key) {
    gradients = std::max(gradients, Difference(got, products.Get(key)));
  });
  EXPECT_LT(gradients, 0.03);
  RecordProperty("hidden", Cat(hidden));
  RecordProperty("gradients", Cat(gradients));
}

// With probability 1 dropout leaves nothing to chance, and the result tells where it stands.
TEST_P(BertFamily, DropoutStandsWhereTheReferenceHasIt) {
  const BertGolden golden(GetParam());
  for (const bool attention : {false, true}) {
    BertConfig config = golden.model.config();
    config.dropout = attention ? 0 : 1;
    config.attention_dropout = attention ? 1 : 0;
    nn::Parameters parameters(at::kDouble);
    Bert model(config, parameters);
    model.Load(golden.folder);
    const at::Tensor got = HiddenOf(model, golden.texts, true);
    EXPECT_LT(Difference(got, golden.Get(attention ? "without_attention" : "without_hidden")),
              1e-9);
    EXPECT_GT(Difference(got, golden.Get("hidden")), 0.01);
  }
  EXPECT_GT(Difference(golden.Hidden(true), golden.Get("hidden")), 0.01);  // the usual 0.1
}

TEST_P(BertFamily, RowsKeepTheCallersOrderAndDoNotDependOnBatchMates) {
  const BertGolden golden(GetParam());
  for (const bool training : {false, true}) {  // then dropout of weights and hidden states is on
    const auto draws = [&](int64_t first, int64_t texts) {
      return training ? nn::DrawsOf(1, 0, first, texts) : nn::Draws();
    };
    const int64_t texts = std::ssize(golden.texts);
    const at::Tensor all = golden.model.Forward(golden.texts, golden.pooling(), draws(0, texts));
    for (int64_t i = 0; i < texts; ++i)
      EXPECT_LT(Difference(golden.model.Forward({golden.texts[static_cast<size_t>(i)]},
                                                golden.pooling(), draws(i, 1)),
                           all.narrow(0, i, 1).detach()),
                training ? 1e-12 : 1e-14);
  }
}

TEST_P(BertFamily, SavesWhatTheReferenceSaved) {
  const BertGolden golden(GetParam(), at::kFloat);
  const auto folder = std::filesystem::path(testing::TempDir()) / Cat("saved_", golden.name);
  golden.model.Save(folder);
  auto ours = store::ReadSafetensors(folder), theirs = store::ReadSafetensors(golden.folder);
  std::erase_if(theirs, [](const auto& entry) { return entry.first.starts_with("lm_head."); });
  ASSERT_EQ(ours.size(), theirs.size());
  for (const auto& [name, host] : theirs) {
    ASSERT_TRUE(ours.contains(name)) << name;
    EXPECT_TRUE(tensor::View(host).equal(tensor::View(ours.at(name)))) << name;
  }
  const auto read = [](const std::filesystem::path& file) {
    std::ifstream in(file);
    return nlohmann::json::parse(in);
  };
  auto written = read(folder / "config.json"), reference = read(golden.folder / "config.json");
  written.erase("architectures");
  for (const auto& [key, value] : written.items()) EXPECT_EQ(value, reference[key]) << key;
  const BertConfig again = LoadBertConfig(folder);
  EXPECT_EQ(again.head, golden.model.config().head);
  EXPECT_EQ(again.epsilon, golden.model.config().epsilon);
  nn::Parameters parameters;
  Bert model(again, parameters);
  model.Load(folder);
}

// What published files hold beside the network, and how older ones spell it.
TEST_P(BertFamily, LoadsOlderNamesAndLeavesHeadsOut) {
  const BertGolden golden(GetParam(), at::kFloat);
  const std::string prefix = golden.name + ".";
  store::TensorMap old;
  for (const auto& [published, host] : store::ReadSafetensors(golden.folder)) {
    std::string name = published;
    if (name.starts_with("mlp.") || name.starts_with("lm_head.")) continue;
    if (!name.starts_with(prefix)) name = prefix + name;
    if (const size_t at = name.rfind("LayerNorm."); at != std::string::npos)
      name = name.substr(0, at) + (name.ends_with("weight") ? "LayerNorm.gamma" : "LayerNorm.beta");
    old.emplace(name, host);
  }
  const HostTensor some = HostTensor::From<float>({1, 2}, {2});
  for (const char* head : {"cls.predictions.bias", "cls.predictions.transform.LayerNorm.gamma",
                           "vocab_projector.bias", "vocab_layer_norm.weight", "lm_head.bias",
                           "classifier.weight", "pre_classifier.weight", "pooler.dense.weight"})
    old.emplace((std::string(head) == "pooler.dense.weight" ? prefix : "") + head, some);
  old.emplace(prefix + "embeddings.position_ids", HostTensor::From<int64_t>({0, 1}, {1, 2}));
  const auto folder = std::filesystem::path(testing::TempDir()) / Cat("old_", golden.name);
  std::filesystem::create_directories(folder);
  store::WriteSafetensors(folder / "model.safetensors", old);
  nn::Parameters parameters;
  Bert model(WithoutHead(golden.model.config()), parameters);
  model.Load(folder);
  for (const auto& [path, tensor] : parameters.all())
    EXPECT_TRUE(tensor.equal(golden.parameters.Get(path))) << path;

  old.emplace(prefix + "embeddings.rotary", some);
  store::WriteSafetensors(folder / "model.safetensors", old);
  try {
    model.Load(folder);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("unknown tensor '" + prefix + "embeddings.rotary'"),
              std::string::npos);
  }
}

TEST(Bert, SizesOfThePublishedNetworks) {  // as transformers counts them
  const auto count = [](const BertConfig& config) {
    nn::Parameters parameters(at::kFloat, at::kMeta);  // shapes without bytes
    Bert model(config, parameters);
    return parameters.Count();
  };
  EXPECT_EQ(count({.family = BertConfig::Family::kDistilBert, .layers = 6, .types = 0}), 66362880);
  EXPECT_EQ(count({.head = BertConfig::Head::kPooler, .width = 384, .inner = 1536, .layers = 6}),
            22713216);
  EXPECT_EQ(count({.head = BertConfig::Head::kPooler}), 109482240);
  EXPECT_EQ(count({.family = BertConfig::Family::kRoberta,
                   .head = BertConfig::Head::kMlp,
                   .vocabulary = 50265,
                   .width = 1024,
                   .inner = 4096,
                   .layers = 24,
                   .heads = 16,
                   .positions = 514,
                   .types = 1,
                   .pad = 1}),
            355359744);
}

TEST(Bert, InitialisesLikeTheReference) {
  BertConfig config = LoadBertConfig(kGolden / "bert/distilbert");
  config.sinusoidal = true;
  config.width = 16;
  nn::Parameters parameters(at::kDouble);
  Bert model(config, parameters, "user.");
  model.Initialise(3);
  const auto golden = store::ReadSafetensors(kGolden / "bert_golden.safetensors");
  const at::Tensor sines = parameters.Get("user.embeddings.position_embeddings.weight");
  EXPECT_LT(Difference(sines, tensor::View(golden.at("sinusoids"))), 1e-7);  // theirs: float
  EXPECT_FALSE(sines.requires_grad());
  const at::Tensor words = parameters.Get("user.embeddings.word_embeddings.weight");
  EXPECT_NEAR(words.std().item<double>(), 0.02, 0.001);
  EXPECT_EQ(words.select(0, 0).abs().max().item<double>(), 0);
  const std::string layer = "user.transformer.layer.1.";
  EXPECT_EQ(parameters.Get(layer + "sa_layer_norm.weight").sum().item<double>(), 16);
  EXPECT_EQ(parameters.Get(layer + "ffn.lin1.bias").abs().max().item<double>(), 0);
  EXPECT_NEAR(parameters.Get(layer + "ffn.lin1.weight").std().item<double>(), 0.02, 0.004);
}

TEST(Bert, FrozenParametersRecordNothing) {
  const BertGolden golden("bert", at::kFloat, at::ScalarType::Undefined, false);
  EXPECT_FALSE(golden.Loss().requires_grad());
}

// The tiny BERT's config.json with changes.
std::string ConfigError(const nlohmann::json& changes, const std::string& from = "bert") {
  std::ifstream in(kGolden / "bert" / from / "config.json");
  nlohmann::json json = nlohmann::json::parse(in);
  json.merge_patch(changes);
  const auto folder = std::filesystem::path(testing::TempDir()) / "bert_config";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << json;
  return ErrorOf([&] { LoadBertConfig(folder); });
}

TEST(Bert, ConfigurationsAreReadInBothFormsAndRefusedByKey) {
  EXPECT_EQ(ConfigError(nlohmann::json::object()), "no error");
  EXPECT_EQ(ConfigError({{"torch_dtype", nullptr},
                         {"dtype", "bfloat16"},
                         {"pruned_heads", nlohmann::json::object()}}),
            "no error");
  EXPECT_EQ(ConfigError({{"position_embedding_type", nullptr}, {"hidden_act", nullptr}}),
            "no error");
  const auto names = [](const nlohmann::json& changes, const std::string& text,
                        const std::string& from = "bert") {
    const std::string error = ConfigError(changes, from);
    EXPECT_NE(error.find(text), std::string::npos) << text << ": " << error;
    EXPECT_NE(error.find("config.json"), std::string::npos) << error;
  };
  names({{"model_type", "xlm-roberta"}}, "\"model_type\" is \"xlm-roberta\"");
  names({{"model_type", nullptr}}, "lacks \"model_type\"");
  names({{"hidden_act", "relu"}}, "\"hidden_act\" is \"relu\"");
  names({{"activation", "relu"}}, "\"activation\" is \"relu\"", "distilbert");
  names({{"position_embedding_type", "relative_key"}}, "\"position_embedding_type\"");
  names({{"is_decoder", true}}, "\"is_decoder\" is true");
  names({{"pruned_heads", {{"0", {1}}}}}, "\"pruned_heads\"");
  names({{"quantization_config", {{"bits", 4}}}}, "\"quantization_config\"");
  names({{"n_layers", nullptr}}, "lacks \"n_layers\"", "distilbert");
  names({{"hidden_size", "wide"}}, "\"hidden_size\"");
  names({{"num_hidden_layers", 0}}, "\"num_hidden_layers\" is 0");
  names({{"num_attention_heads", 3}}, "\"num_attention_heads\" (3) does not divide");
  names({{"hidden_dropout_prob", 1.5}}, "\"hidden_dropout_prob\" is 1.5");
  names({{"pad_token_id", 96}}, "\"pad_token_id\" is 96");
  names({{"max_position_embeddings", 2}}, "\"max_position_embeddings\" is 2", "roberta");
}

}  // namespace
}  // namespace whyrec::lm
