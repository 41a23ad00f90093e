// MiniLM's published weights against transformers on 200 real texts (tests/golden/make_minilm.py).
#include "src/lm/encoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "src/lm/bert_folder.h"
#include "src/lm/bert_text.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"

namespace whyrec::lm {
namespace {

// $WHYREC_CACHE/minilm or ~/.cache/whyrec/minilm.
std::filesystem::path MiniLm() {
  const char* cache = std::getenv("WHYREC_CACHE");
  const char* home = std::getenv("HOME");
  return (cache ? std::filesystem::path(cache)
                : std::filesystem::path(home ? home : "") / ".cache/whyrec") /
         "minilm";
}

#define NEED_MINILM()                                           \
  if (!std::filesystem::exists(MiniLm() / "model.safetensors")) \
  GTEST_SKIP() << "no MiniLM at " << MiniLm() << "; launch/setup fetches it"

struct MiniLmGolden {
  MiniLmGolden() {
    tensors = store::ReadSafetensors(kGolden / "minilm_golden.safetensors");
    const auto bytes = tensors.at("texts").values<uint8_t>();
    std::istringstream in(std::string(bytes.begin(), bytes.end()));
    for (std::string text; std::getline(in, text, '\0');) texts.push_back(text);
    vectors = tensors.at("vectors");
  }
  store::TensorMap tensors;
  std::vector<std::string> texts;
  HostTensor vectors;  // the first 96 values of each
};

TEST(Encoder, EqualsTheReferenceOnRealTexts) {
  NEED_MINILM();
  const MiniLmGolden golden;
  ASSERT_EQ(golden.texts.size(), 200u);
  const auto encoder = LoadEncoder(MiniLm(), 128);
  EXPECT_EQ(encoder->width(), 384);
  const HostTensor got = encoder->Encode(golden.texts);
  ASSERT_EQ(got.shape(), (std::vector<int64_t>{200, 384}));
  const at::Tensor all = tensor::View(got);
  const double share = ShareOfBound(all.narrow(1, 0, 96), golden.tensors, "vectors");
  EXPECT_LT(share, 1);
  std::printf("largest share of a bound: %.2g\n", share);
  EXPECT_LT((all.to(at::kDouble).norm(2, 1) - 1).abs().max().item<double>(), 1e-6);
}

TEST(Encoder, RowsDoNotDependOnBatchMates) {
  NEED_MINILM();
  const MiniLmGolden golden;
  const auto encoder = LoadEncoder(MiniLm(), 128);
  const std::vector<std::string> texts(golden.texts.begin() + 40, golden.texts.begin() + 100);
  const HostTensor all = encoder->Encode(texts);
  // Products of other shapes sum in other orders.
  const double bound = Fp32Bound(golden.tensors, "vectors", 0);
  for (const int64_t i : {0, 10, 59}) {
    const HostTensor alone = encoder->Encode({texts[static_cast<size_t>(i)]});
    for (size_t j = 0; j < 384; ++j) {
      EXPECT_NEAR(alone.row<float>(0)[j], all.row<float>(i)[j], bound);
    }
  }
  EXPECT_EQ(encoder->Encode({}).dim(0), 0);
  EXPECT_EQ(encoder->Encode({""}).dim(0), 1);
}

std::vector<std::string> Texts(const HostTensor& host) {
  const auto bytes = host.values<uint8_t>();
  std::vector<std::string> texts(1);
  for (const uint8_t byte : bytes)
    if (byte == 0)
      texts.emplace_back();
    else
      texts.back() += static_cast<char>(byte);
  return texts;
}

// From text to vector, as transformers' tokenizers and networks do it (tests/golden/make_bert.py).
TEST(Encoder, EqualsTheReferenceForEveryFamily) {
  const auto golden = store::ReadSafetensors(kGolden / "bert_golden.safetensors");
  const auto texts = Texts(golden.at("texts"));
  ASSERT_EQ(texts.size(), 5u);
  for (const auto& [name, pooling] : std::vector<std::pair<std::string, Pooling>>{
           {"bert", Pooling::kMean}, {"distilbert", Pooling::kAuto}, {"roberta", Pooling::kAuto}}) {
    EncoderOptions options = {.max_tokens = 16, .pooling = pooling};
    const auto encoder = LoadEncoder(kGolden / "bert" / name, options);
    const double share =
        ShareOfBound(tensor::View(encoder->Encode(texts)), golden, name + ".text_vectors");
    EXPECT_LT(share, 1) << name;
    std::printf("%s: largest share of a bound: %.2g\n", name.c_str(), share);
    EXPECT_EQ(encoder->cut(), 1) << name;  // the third text
    options.dtype = "bf16";
    const HostTensor half = LoadEncoder(kGolden / "bert" / name, options)->Encode(texts);
    const at::Tensor want = tensor::View(golden.at(name + ".text_vectors"));
    EXPECT_LT((tensor::View(half).to(at::kDouble) - want).abs().max().item<double>(), 0.03) << name;
    options = {.pooling = pooling, .normalise = false};
    const auto whole = LoadEncoder(kGolden / "bert" / name, options);
    EXPECT_EQ(whole->max_tokens(), 40) << name;
    const HostTensor row = whole->Encode({texts[0]});
    double squares = 0;
    for (const float x : row.values<float>()) squares += static_cast<double>(x) * x;
    EXPECT_GT(std::abs(squares - 1), 0.01) << name;
    EXPECT_EQ(whole->cut(), 0) << name;
  }
}

// A copy of a golden folder that tests may change.
std::filesystem::path CopyOf(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) / Cat("encoder_", name);
  std::filesystem::remove_all(folder);
  std::filesystem::copy(kGolden / "bert" / name, folder, std::filesystem::copy_options::recursive);
  return folder;
}

void WriteText(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

// What is thrown; its code and whether the text holds `part`.
void Throws(const std::filesystem::path& folder, const EncoderOptions& options, Exit code,
            const std::string& part) {
  try {
    LoadEncoder(folder, options);
    ADD_FAILURE() << "no error: " << part;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Encoder, SentenceFilesChoosePoolingAndLimit) {
  const auto folder = CopyOf("bert");
  Throws(folder, {}, Exit::kUsage, "give pooling MEAN, CLS or EASYREC");
  SaveSentenceFiles(folder, Pooling::kCls, 16, 24, true);
  const auto cls = LoadEncoder(folder, 0);
  EXPECT_EQ(cls->max_tokens(), 24);
  const auto first = [](Encoder& encoder) {
    return encoder.Encode({"a good gift card!"}).values<float>()[0];
  };
  const auto asked = LoadEncoder(folder, EncoderOptions{.pooling = Pooling::kCls});
  EXPECT_EQ(first(*cls), first(*asked));
  SaveSentenceFiles(folder, Pooling::kMean, 16, 24, true);
  const auto mean = LoadEncoder(folder, 0);
  EXPECT_NE(first(*cls), first(*mean));
  // An older form: no list of modules; a newer: the pooling by name.
  std::filesystem::remove(folder / "modules.json");
  EXPECT_EQ(first(*LoadEncoder(folder, 0)), first(*mean));
  WriteText(folder / "1_Pooling/config.json", R"({"pooling_mode": "cls"})");
  EXPECT_EQ(first(*LoadEncoder(folder, 0)), first(*cls));

  LoadEncoder(folder, EncoderOptions{.pooling = Pooling::kMean});
  Throws(folder, {.max_tokens = 25}, Exit::kUsage, "max_tokens is 25");
  Throws(folder, {.max_tokens = 2}, Exit::kUsage, "takes 3 to 24");
  WriteText(folder / "1_Pooling/config.json", R"({"pooling_mode_max_tokens": true})");
  Throws(folder, {}, Exit::kData, "\"pooling_mode_max_tokens\" is true");
  WriteText(folder / "1_Pooling/config.json", "{}");
  Throws(folder, {}, Exit::kData, "must be true");
  WriteText(folder / "modules.json",
            R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])");
  Throws(folder, {}, Exit::kData, "models.Dense\" at \"2_Dense\" is not supported");
  WriteText(folder / "modules.json", "[");
  Throws(folder, {}, Exit::kData, "modules.json");
  std::filesystem::remove(folder / "modules.json");
  WriteText(folder / "sentence_bert_config.json", R"({"do_lower_case": true})");
  WriteText(folder / "tokenizer_config.json", R"({"do_lower_case": false})");
  Throws(folder, {.pooling = Pooling::kCls}, Exit::kData, "the tokenizer keeps case");
}

// What training leaves behind: a folder that encodes as the one it began with.
TEST(Encoder, LoadsWhatBertSaved) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "trained_encoder";
  std::filesystem::remove_all(folder);
  const auto from = kGolden / "bert/distilbert";
  nn::Parameters parameters;
  Bert model(LoadBertConfig(from), parameters);
  model.Load(from);
  model.Save(folder);
  SaveSentenceFiles(folder, Pooling::kMean, 16, 20, false);
  CopyTokenizerFiles(from, folder);
  const auto again = LoadEncoder(folder, 0);
  EXPECT_EQ(again->max_tokens(), 20);
  const auto mean = LoadEncoder(from, EncoderOptions{.pooling = Pooling::kMean});
  const std::vector<std::string> texts = {"a good gift card!", "bad"};
  const HostTensor x = again->Encode(texts), y = mean->Encode(texts);
  EXPECT_TRUE(std::ranges::equal(x.values<float>(), y.values<float>()));
}

TEST(Encoder, SaysWhatIsMissingOrDoesNotFit) {
  const auto none = std::filesystem::path(testing::TempDir()) / "no_encoder";
  std::filesystem::remove_all(none);
  Throws(none, {}, Exit::kData, "no such folder");
  std::filesystem::create_directories(none);
  Throws(none, {}, Exit::kData, "lacks config.json, model.safetensors, a tokenizer");
  const auto folder = CopyOf("distilbert");
  Throws(folder, {.dtype = "fp16"}, Exit::kUsage, "dtype 'fp16'");
  Throws(folder, {.device = "tpu"}, Exit::kUsage, "device 'tpu'");
  Throws(folder, {.pooling = Pooling::kEasyRec}, Exit::kUsage, "EASYREC needs");
  Throws(folder, {.max_tokens = 41}, Exit::kUsage, "takes 3 to 40");

  // A vocabulary that is not the model's.
  WriteText(folder / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  LoadEncoder(folder, 0);  // fewer pieces than rows: padded tables are common
  std::string many = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (int i = 0; i < 92; ++i) many += Cat("word", i, "\n");
  WriteText(folder / "vocab.txt", many);
  Throws(folder, {}, Exit::kData, "the tokenizer has 97 pieces, the network rows for 96");
  const auto easyrec = CopyOf("roberta");
  std::filesystem::copy(kGolden / "bert/bert/vocab.txt", easyrec / "vocab.txt");
  Throws(easyrec, {}, Exit::kData, "the tokenizer lacks <s>");

  // Weights that are not the configuration's, or broken.
  const auto wrong = CopyOf("bert");
  auto tensors = store::ReadSafetensors(kGolden / "bert/bert");
  const std::string name = "encoder.layer.1.output.dense.weight";
  tensors[name] = tensors[name].Clone();
  tensors[name].values<float>()[5] = std::nanf("");
  store::WriteSafetensors(wrong / "model.safetensors", tensors);
  Throws(wrong, {.pooling = Pooling::kMean}, Exit::kData,
         "'" + name + "' holds values that are not");
  tensors[name] = HostTensor::Zeros(DType::kF32, {16, 25});
  store::WriteSafetensors(wrong / "model.safetensors", tensors);
  Throws(wrong, {.pooling = Pooling::kMean}, Exit::kData, "[16, 25], the configuration asks for");
  tensors.erase(name);
  store::WriteSafetensors(wrong / "model.safetensors", tensors);
  Throws(wrong, {.pooling = Pooling::kMean}, Exit::kData, "lacks tensor '" + name);
  WriteText(wrong / "config.json", "{}");
  Throws(wrong, {}, Exit::kData, "lacks \"model_type\"");
  NEED_MINILM();
  Throws(MiniLm(), {.max_tokens = 300}, Exit::kUsage, "takes 3 to 256");
}

}  // namespace
}  // namespace whyrec::lm
