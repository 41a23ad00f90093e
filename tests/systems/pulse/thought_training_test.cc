// Phase I of PULSE on gift cards, with first sentences of reviews as rationales: one rank against
// two to four, what is written, what is learnt.
#include "src/systems/pulse/thought_training.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "src/base/error.h"
#include "src/data/clean_text.h"
#include "src/gen/behaviour.h"
#include "src/lm/thought_space.h"
#include "tests/stages/tiny.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

// Letters, so that every word has its own pieces.
fs::path WriteVocabulary(const fs::path& folder) {
  std::ofstream out(folder / "vocab.txt");
  for (const char* piece : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) out << piece << "\n";
  for (char c = 'a'; c <= 'z'; ++c) out << c << "\n##" << c << "\n";
  for (char c = '0'; c <= '9'; ++c) out << c << "\n##" << c << "\n";
  for (char c : {':', ';', '|', '.', ',', '!', '$', '-'}) out << c << "\n";
  return folder / "vocab.txt";
}

config::RunConfig Configure(const fs::path& folder, const std::vector<std::string>& overrides) {
  std::ofstream(folder / "run.txtpb")
      << "pulse {\n  behaviour { max_tokens: 24 fields: TITLES_REVIEWS }\n"
         "  thought { width: 16 inner: 32 layers: 1 heads: 2 dropout: 0.1 pooling: MEAN "
         "vocabulary: "
         "\""
      << WriteVocabulary(folder).string()
      << "\"\n    train { global_batch: 7 epochs: 2 learning_rate: 1e-3 clip_norm: 1\n"
         "      schedule: COSINE warmup: 0.1 patience: 1000 } }\n}\n"
         "execution { device: \"cpu\" }\n";
  const config::RunConfig config = config::Load(folder / "run.txtpb", overrides);
  return config::WithTraining(config, config.pulse().thought().train());
}

// Every tenth user is held out.
std::vector<ThoughtSample> Samples(int64_t users, const config::BehaviourConfig& config) {
  const data::Catalogue all = GiftCardUsers(users);
  std::vector<ThoughtSample> samples;
  for (int64_t u = 0; u < users; ++u) {
    const auto row = all.histories.row(u);
    const auto first = static_cast<size_t>(all.histories.offsets[static_cast<size_t>(u)]);
    std::vector<gen::Event> history;
    std::string rationale;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      const std::string& review = all.reviews[first + i];
      history.push_back({.title = all.items[static_cast<size_t>(row[i])].title, .review = review});
      const std::string sentence = data::FirstSentence(review);
      rationale += sentence.empty() ? "" : (rationale.empty() ? "" : " ") + sentence;
    }
    if (rationale.empty()) continue;
    const gen::Target target{all.items[static_cast<size_t>(row.back())].title};
    samples.push_back({.with_target = gen::BehaviourText(history, &target, config),
                       .history = gen::BehaviourText(history, nullptr, config),
                       .rationale = rationale,
                       .held_out = samples.size() % 10 == 9});
  }
  return samples;
}

struct Outcome {
  Trained trained;
  lm::ThoughtFacts facts;
};

Outcome TrainOn(int ranks, const config::RunConfig& config,
                const std::vector<ThoughtSample>& samples, const fs::path& folder) {
  SetProgressMode(ProgressMode::kNone);
  nn::SetThreads(1);
  cluster::RunThreads(
      ranks, [&](cluster::Communicator& comm) { TrainThoughts(config, samples, comm, folder); });
  Outcome run;
  ReadLosses(folder, run.trained);
  for (const char* name : {"rationale", "behaviour"})
    for (const auto& [path, tensor] : store::ReadSafetensors(folder / name / "model.safetensors"))
      run.trained.weights[std::string(name) + "." + path] = Doubles(tensor);
  run.facts = lm::LoadThoughtFacts(folder);
  return run;
}

// |a - b| / |a| over all weights together: biases start at 0, and those of keys have no gradient
// but for rounding, which Adam enlarges.
double Distance(const Trained& a, const Trained& b) {
  double square = 0, far = 0;
  for (const auto& [path, values] : a.weights) {
    const std::vector<double>& others = b.weights.at(path);
    for (size_t i = 0; i < values.size(); ++i) {
      square += values[i] * values[i];
      far += (values[i] - others.at(i)) * (values[i] - others.at(i));
    }
  }
  return std::sqrt(far / square);
}

TEST(ThoughtTraining, RanksGiveTheSameRun) {
  for (const bool fp64 : {true, false}) {
    const Temporary configured, alone;
    const auto config = Configure(configured.path(), {fp64 ? "pulse.thought.train.dtype=FP64"
                                                           : "pulse.thought.train.dtype=FP32"});
    const auto samples = Samples(60, config.pulse().behaviour());
    const Outcome one = TrainOn(1, config, samples, alone.path());
    EXPECT_NE(one.trained.total.front(), one.trained.total.back());
    EXPECT_NE(one.facts.log_tau, std::log(0.07f));
    for (const int ranks : {2, 3, 4}) {
      const Temporary folder;
      const Outcome run = TrainOn(ranks, config, samples, folder.path());
      const double losses = Furthest(one.trained.total, run.trained.total);
      const double weights = Distance(one.trained, run.trained);
      const double tau = std::abs(one.facts.log_tau - run.facts.log_tau);
      std::printf("%s, %d ranks: losses %.1e, weights %.1e, log tau %.1e\n", fp64 ? "fp64" : "fp32",
                  ranks, losses, weights, tau);
      EXPECT_LT(losses, fp64 ? 1e-8 : 1e-5);  // nine digits are written
      EXPECT_LT(weights, fp64 ? 1e-9 : 1e-5);
      EXPECT_LT(tau, fp64 ? 1e-9 : 1e-5);
      EXPECT_EQ(run.facts.retrieval_before, one.facts.retrieval_before);
    }
  }
}

TEST(ThoughtTraining, AConstantTemperatureStays) {
  const Temporary configured, folder;
  const auto config =
      Configure(configured.path(), {"protocol=AS_PUBLISHED", "reading=RELEASED_CODE"});
  const Outcome run = TrainOn(1, config, Samples(30, config.pulse().behaviour()), folder.path());
  EXPECT_EQ(run.facts.log_tau, 0);
}

TEST(ThoughtTraining, TheTemperatureStaysInItsRange) {
  const Temporary configured, folder;
  const auto config = Configure(
      configured.path(), {"pulse.thought.temperature=0.9", "pulse.thought.temperature_rate=1",
                          "pulse.thought.train.warmup=0"});
  const Outcome run = TrainOn(1, config, Samples(30, config.pulse().behaviour()), folder.path());
  EXPECT_GE(run.facts.log_tau, std::log(0.01));
  EXPECT_LE(run.facts.log_tau, 0);
}

// Chance is 1/11. The vocabulary is the one of the published models.
TEST(ThoughtTraining, LearnsRetrievalOnHeldOutUsers) {
  const fs::path vocabulary = EncoderFolder() / "vocab.txt";
  if (!fs::exists(vocabulary)) GTEST_SKIP() << vocabulary << " is not there; run launch/setup";
  const Temporary configured, folder;
  const auto config =
      Configure(configured.path(),
                {"pulse.thought.vocabulary=" + vocabulary.string(), "pulse.behaviour.max_tokens=64",
                 "pulse.thought.width=64", "pulse.thought.inner=128", "pulse.thought.heads=4",
                 "pulse.thought.train.global_batch=16", "pulse.thought.train.epochs=4"});
  const auto samples = Samples(400, config.pulse().behaviour());
  const auto begin = std::chrono::steady_clock::now();
  const Outcome run = TrainOn(1, config, samples, folder.path());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%zu users, %lld judged: R@1 %.3f -> %.3f, tau %.3f, %zu steps in %.1f s\n",
              samples.size(), static_cast<long long>(run.facts.held_out),
              run.facts.retrieval_before, run.facts.retrieval_after, std::exp(run.facts.log_tau),
              run.trained.total.size(), took.count());
  EXPECT_GT(run.facts.retrieval_after, 3.0 / 11);

  // The scorer that is loaded again sees the same space: own rationales of held-out users score
  // higher than those of the next user.
  const auto scorer = lm::LoadThoughtSpace(folder.path(), "cpu");
  std::vector<std::string> behaviours;
  std::vector<std::vector<std::string>> reasons;
  for (size_t i = 9; i + 10 < samples.size(); i += 10) {
    behaviours.push_back(samples[i].history);
    reasons.push_back({samples[i].rationale, samples[i + 10].rationale});
  }
  double won = 0;
  for (const auto& scores : scorer->Score(behaviours, reasons))
    won += (scores[0] > scores[1]) / static_cast<double>(behaviours.size());
  EXPECT_GT(won, 0.7);
}

void ExpectError(Exit code, const std::string& part, const std::vector<std::string>& overrides,
                 int64_t users = 30, int ranks = 1) {
  const Temporary configured, folder;
  try {
    const auto config = Configure(configured.path(), overrides);
    TrainOn(ranks, config, Samples(users, config.pulse().behaviour()), folder.path());
    FAIL() << "no error: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(ThoughtTraining, Errors) {
  ExpectError(Exit::kData, "users to train on", {}, 1);
  ExpectError(Exit::kUsage, "train.micro_batch", {"pulse.thought.train.micro_batch=2"});
  ExpectError(Exit::kUsage, "train.global_batch is 1", {"pulse.thought.train.global_batch=1"}, 30,
              2);
  ExpectError(Exit::kUsage, "pulse.thought.heads", {"pulse.thought.heads=5"});
}

}  // namespace
}  // namespace whyrec::systems
