// MiniLM's published weights against transformers on 200 real texts (tests/golden/make_minilm.py).
#include "src/lm/encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "src/store/safetensors.h"

namespace whyrec::lm {
namespace {

// $WHYREC_CACHE/minilm or ~/.cache/whyrec/minilm.
std::filesystem::path Folder() {
  const char* cache = std::getenv("WHYREC_CACHE");
  const char* home = std::getenv("HOME");
  return (cache ? std::filesystem::path(cache)
                : std::filesystem::path(home ? home : "") / ".cache/whyrec") /
         "minilm";
}

#define NEED_MINILM()                                           \
  if (!std::filesystem::exists(Folder() / "model.safetensors")) \
  GTEST_SKIP() << "no MiniLM at " << Folder() << "; launch/setup fetches it"

struct Golden {
  Golden() {
    const auto tensors = store::ReadSafetensors(std::filesystem::path(WHYREC_SOURCE_DIR) /
                                                "tests/golden/minilm_golden.safetensors");
    const auto bytes = tensors.at("texts").values<uint8_t>();
    std::istringstream in(std::string(bytes.begin(), bytes.end()));
    for (std::string text; std::getline(in, text, '\0');) texts.push_back(text);
    vectors = tensors.at("vectors");
  }
  std::vector<std::string> texts;
  HostTensor vectors;  // the first 96 values of each
};

TEST(Encoder, EqualsTheReferenceOnRealTexts) {
  NEED_MINILM();
  const Golden golden;
  ASSERT_EQ(golden.texts.size(), 200u);
  const auto encoder = LoadEncoder(Folder(), 128);
  EXPECT_EQ(encoder->width(), 384);
  const HostTensor got = encoder->Encode(golden.texts);
  ASSERT_EQ(got.shape(), (std::vector<int64_t>{200, 384}));
  float worst = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const auto row = got.row<float>(i), want = golden.vectors.row<float>(i);
    for (size_t j = 0; j < want.size(); ++j) worst = std::max(worst, std::abs(row[j] - want[j]));
    double norm = 0;
    for (const float x : row) norm += static_cast<double>(x) * x;
    EXPECT_NEAR(norm, 1, 1e-5);
  }
  EXPECT_LT(worst, 1e-5);
}

TEST(Encoder, RowsDoNotDependOnBatchMates) {
  NEED_MINILM();
  const Golden golden;
  const auto encoder = LoadEncoder(Folder(), 128);
  const std::vector<std::string> texts(golden.texts.begin() + 40, golden.texts.begin() + 100);
  const HostTensor all = encoder->Encode(texts);
  for (const int64_t i : {0, 10, 59}) {
    const HostTensor alone = encoder->Encode({texts[static_cast<size_t>(i)]});
    for (size_t j = 0; j < 384; ++j) {
      EXPECT_NEAR(alone.row<float>(0)[j], all.row<float>(i)[j], 1e-6);
    }
  }
  EXPECT_EQ(encoder->Encode({}).dim(0), 0);
  EXPECT_EQ(encoder->Encode({""}).dim(0), 1);
}

std::string ErrorOf(const std::filesystem::path& folder, int64_t max_tokens) {
  try {
    LoadEncoder(folder, max_tokens);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Encoder, SaysWhatIsMissingOrDoesNotFit) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "no_encoder";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "1_Pooling");
  std::ofstream(folder / "config.json") << "{}";
  EXPECT_NE(ErrorOf(folder, 128).find("lacks model.safetensors, vocab.txt, 1_Pooling/config.json"),
            std::string::npos);
  std::ofstream(folder / "model.safetensors");
  std::ofstream(folder / "vocab.txt");
  std::ofstream(folder / "1_Pooling/config.json") << R"({"pooling_mode_cls_token": true})";
  EXPECT_NE(ErrorOf(folder, 128).find("pooling_mode_mean_tokens"), std::string::npos);
  std::ofstream(folder / "1_Pooling/config.json") << R"({"pooling_mode_mean_tokens": true})";
  EXPECT_NE(ErrorOf(folder, 128).find("not BERT"), std::string::npos);
  NEED_MINILM();
  EXPECT_NE(ErrorOf(Folder(), 300).find("takes 3 to 256"), std::string::npos);
}

}  // namespace
}  // namespace whyrec::lm
