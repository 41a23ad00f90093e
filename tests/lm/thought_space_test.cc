// The scorer against cosines made one by one; the encoders that training starts from.
#include "src/lm/thought_space.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "src/base/error.h"
#include "src/lm/bert.h"
#include "src/nn/numeric.h"
#include "tests/golden/folder.h"
#include "tests/store/temporary.h"

namespace whyrec::lm {
namespace {

namespace fs = std::filesystem;

config::ThoughtConfig SmallThought() {
  config::ThoughtConfig config;
  config.set_vocabulary(kGolden / "bert/distilbert/vocab.txt");
  config.set_width(16);
  config.set_inner(32);
  config.set_layers(2);
  config.set_heads(2);
  return config;
}

double Cosine(const HostTensor& a, const HostTensor& b) {
  double product = 0, a2 = 0, b2 = 0;
  for (int64_t i = 0; i < a.dim(1); ++i) {
    const double x = a.row<float>(0)[i], y = b.row<float>(0)[i];
    product += x * y, a2 += x * x, b2 += y * y;
  }
  return product / std::sqrt(a2 * b2);
}

// Says how many texts it was asked for.
class Counting final : public Encoder {
 public:
  Counting(std::unique_ptr<Encoder> encoder, int64_t& texts)
      : encoder_(std::move(encoder)), texts_(texts) {}
  int64_t width() const override { return encoder_->width(); }
  int64_t max_tokens() const override { return encoder_->max_tokens(); }
  int64_t cut() const override { return encoder_->cut(); }
  HostTensor Encode(const std::vector<std::string>& texts) override {
    texts_ += std::ssize(texts);
    return encoder_->Encode(texts);
  }

 private:
  std::unique_ptr<Encoder> encoder_;
  int64_t& texts_;
};

TEST(ReasonScorer, ScoresAreCosinesOfTwoEncoders) {
  nn::SetThreads(1);
  const Temporary one, two;
  WriteRandomEncoder(SmallThought(), 1, one.path());
  WriteRandomEncoder(SmallThought(), 2, two.path());
  const std::vector<std::string> behaviours = {"history: a card", "history: the box; a tin",
                                               "nothing to score"};
  const std::vector<std::vector<std::string>> reasons = {
      {"likes cards", "likes boxes of tin", "likes cards"}, {"likes cards"}, {}};
  int64_t encoded = 0;
  const auto scorer =
      MakeReasonScorer(std::make_unique<Counting>(LoadEncoder(one.path(), 32), encoded),
                       LoadEncoder(two.path(), 32));
  const auto scores = scorer->Score(behaviours, reasons);
  EXPECT_EQ(encoded, 2);  // distinct ones
  const auto raw = [](const fs::path& folder) {
    return LoadEncoder(folder, {.max_tokens = 32, .normalise = false});
  };
  const auto rationale = raw(one.path()), behaviour = raw(two.path());
  ASSERT_EQ(scores.size(), 3u);
  for (size_t user = 0; user < 3; ++user) {
    ASSERT_EQ(scores[user].size(), reasons[user].size());
    for (size_t i = 0; i < reasons[user].size(); ++i)
      EXPECT_NEAR(
          scores[user][i],
          Cosine(behaviour->Encode({behaviours[user]}), rationale->Encode({reasons[user][i]})),
          1e-5);  // texts alone and in batches: some ten roundings of the encoder in fp32
  }
  EXPECT_EQ(scores[0][0], scores[0][2]);
  EXPECT_GT(std::abs(scores[0][0] - scores[0][1]), 1e-4);
}

TEST(ReasonScorer, OneEncoderForBothFindsATextItself) {
  const auto scorer = MakeReasonScorer(LoadEncoder(kGolden / "bert/distilbert", 32), nullptr);
  const auto scores = scorer->Score({"the card"}, {{"a tin box", "the card"}});
  EXPECT_NEAR(scores[0][1], 1, 1e-5);
  EXPECT_LT(scores[0][0], 1 - 1e-4);
}

TEST(RandomEncoder, IsAFunctionOfTheSeed) {
  const Temporary a, b, c;
  WriteRandomEncoder(SmallThought(), 1, a.path());
  WriteRandomEncoder(SmallThought(), 1, b.path());
  WriteRandomEncoder(SmallThought(), 2, c.path());
  const auto bytes = [](const Temporary& folder) {
    std::ifstream in(folder.path() / "model.safetensors", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(bytes(a), bytes(b));
  EXPECT_NE(bytes(a), bytes(c));
  const BertConfig config = LoadBertConfig(a.path());
  EXPECT_EQ(config.family, BertConfig::Family::kDistilBert);
  EXPECT_EQ(config.vocabulary, 96);
  EXPECT_EQ(config.layers, 2);
}

// distilbert-base-uncased's count, from shapes alone: nothing is allocated.
TEST(RandomEncoder, ParametersOfDistilBert) {
  nn::Parameters parameters;
  Bert network({.family = BertConfig::Family::kDistilBert, .layers = 6, .types = 0}, parameters, "",
               false);
  EXPECT_EQ(parameters.Count(), 66'362'880);
}

TEST(RandomEncoder, HeadsMustDivideTheWidth) {
  const Temporary folder;
  config::ThoughtConfig config = SmallThought();
  config.set_heads(3);
  try {
    WriteRandomEncoder(config, 1, folder.path());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kUsage);
    EXPECT_NE(std::string(error.what()).find("pulse.thought.heads (3)"), std::string::npos);
  }
}

TEST(ThoughtFacts, RoundTripAndErrors) {
  const Temporary folder;
  SaveThoughtFacts({.log_tau = -2.25,
                    .pooling = config::ThoughtConfig::MEAN,
                    .max_tokens = 128,
                    .retrieval_before = 0.125,
                    .retrieval_after = 0.75,
                    .held_out = 8},
                   folder.path());
  const ThoughtFacts facts = LoadThoughtFacts(folder.path());
  EXPECT_EQ(facts.log_tau, -2.25);
  EXPECT_EQ(facts.pooling, config::ThoughtConfig::MEAN);
  EXPECT_EQ(facts.max_tokens, 128);
  EXPECT_EQ(facts.retrieval_before, 0.125);
  EXPECT_EQ(facts.retrieval_after, 0.75);
  EXPECT_EQ(facts.held_out, 8);
  for (const char* text : {"{}", "no JSON", "{\"log_tau\": 0, \"pooling\": \"SUM\"}"}) {
    std::ofstream(folder / "thought.json") << text;
    EXPECT_THROW(LoadThoughtFacts(folder.path()), Error) << text;
  }
}

}  // namespace
}  // namespace whyrec::lm
