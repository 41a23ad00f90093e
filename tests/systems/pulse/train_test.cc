// Training of PULSE's scorer and of its base: the same run on 1 to 4 ranks, in parts and with
// layers run again; what is saved; and that reasons are learnt from.
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/lm/language_model.h"
#include "src/lm/lora.h"
#include "src/lm/phi.h"
#include "src/store/safetensors.h"
#include "tests/systems/pulse/world.h"

namespace whyrec::systems {
namespace {

using Names = std::vector<std::string>;
using Weights = std::map<std::string, std::vector<double>>;

Weights ReadWeights(const fs::path& file) {
  Weights weights;
  for (const auto& [path, tensor] : store::ReadSafetensors(file)) {
    auto& values = weights[path];
    if (tensor.dtype() == DType::kF64)
      values.assign(tensor.values<double>().begin(), tensor.values<double>().end());
    else
      values.assign(tensor.values<float>().begin(), tensor.values<float>().end());
  }
  return weights;
}

double FurthestWeight(const Weights& a, const Weights& b) {
  EXPECT_EQ(a.size(), b.size());
  double far = 0;
  for (const auto& [path, values] : a)
    for (size_t i = 0; i < values.size(); ++i)
      far = std::max(far, std::abs(values[i] - b.at(path).at(i)));
  return far;
}

Names With(Names overrides, const Names& more) {
  overrides.insert(overrides.end(), more.begin(), more.end());
  return overrides;
}

// Ranks are threads.
Weights TrainScorer(const PulseWorld& world, int ranks) {
  const Temporary into;
  std::vector<std::unique_ptr<Recommender>> systems;  // built here: HDF5 belongs to one thread
  for (int i = 0; i < ranks; ++i) systems.push_back(world.Build());
  cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
    world.Train(*systems[static_cast<size_t>(comm.rank())], comm, into.path());
  });
  return ReadWeights(into / "model.safetensors");
}

class PulseRanks : public testing::TestWithParam<Names> {};

TEST_P(PulseRanks, PartsAndRecomputedLayersGiveTheSameRun) {
  const Names shared = With({"train.dtype=FP64"}, GetParam());
  const PulseWorld world(15, shared);
  cluster::RunThreads(1, [&](cluster::Communicator& comm) { world.TrainBase(comm); });
  const Weights one = TrainScorer(world, 1);
  const auto same = [&](const PulseWorld& other, int ranks, const char* what) {
    const double far = FurthestWeight(one, TrainScorer(other, ranks));
    std::printf("%s, %s: weights %.1e\n", GetParam()[0].c_str(), what, far);
    EXPECT_LT(far, 1e-9) << what;
  };
  for (int ranks : {2, 3, 4}) same(world, ranks, Cat(ranks, " ranks").c_str());
  for (const char* option : {"pulse.scorer.train.micro_batch=2", "pulse.scorer.checkpoint=ON"}) {
    const PulseWorld other(15, With(shared, {option}));
    fs::copy(world.folder / "language", other.folder / "language", fs::copy_options::recursive);
    same(other, 1, option);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Scorer, PulseRanks,
    testing::Values(Names{"pulse.scorer.train_weights=FULL"},
                    Names{"pulse.scorer.train_weights=LORA", "pulse.scorer.all_linear=true"},
                    Names{"pulse.scorer.logit=TITLE_LL", "pulse.scorer.train_weights=LORA"},
                    Names{"pulse.scorer.logit=SPAN_LISTWISE", "pulse.scorer.train_weights=LORA"},
                    Names{"pulse.scorer.logit=LETTER", "pulse.scorer.train_weights=LORA"},
                    Names{"pulse.scorer.logit=TITLE_GENERATE",
                          "pulse.scorer.reason_at_test=false"}));

// A card and another thing, in any order: chance is 0.5.
TEST(PulseLearns, WhatIsACardFromOneTextWithAllCandidates) {
  for (const char* reading : {"SPAN_LISTWISE", "LETTER"}) {
    const PulseWorld world(
        200,
        {Cat("pulse.scorer.logit=", reading), "split.direct_negatives=1",
         "pulse.language.train.steps=60", "pulse.language.train.learning_rate=3e-3",
         "pulse.scorer.history=1", "pulse.scorer.test_history=1", "pulse.scorer.reason_tokens=1",
         "pulse.scorer.train.steps=100", "pulse.scorer.train.epoch_steps=100",
         "pulse.scorer.train.global_batch=16", "pulse.scorer.train.learning_rate=3e-3",
         "pulse.scorer.head_rate=1e-2"},
        /*cards=*/true);
    const Temporary into;
    cluster::RunThreads(1, [&](cluster::Communicator& comm) {
      world.TrainBase(comm);
      const auto system = world.Build();
      world.Train(*system, comm, into.path());
      const double hits = world.TestHits(*system);
      std::printf("%s: HR@1 %.3f\n", reading, hits);
      EXPECT_GT(hits, 0.8) << reading;
    });
  }
}

TEST(PulseSaved, AnAdapterThatPeftKnows) {
  const PulseWorld world(15, {"pulse.scorer.train_weights=LORA"});
  const Temporary into;
  std::vector<Prediction> before, after;
  auto queries = world.TestQueries();
  cluster::RunThreads(1, [&](cluster::Communicator& comm) {
    world.TrainBase(comm);
    const auto system = world.Build();
    world.Train(*system, comm, into.path());
    before = system->Predict(Task::kDirect, queries);
  });
  const auto again = world.Build();
  again->Load(into.path());
  after = again->Predict(Task::kDirect, queries);
  for (size_t i = 0; i < queries.size(); ++i) EXPECT_EQ(before[i].scores, after[i].scores);
  // The folder alone gives the same adapter.
  const lm::LoraConfig config = lm::LoadLoraConfig(into / "adapter");
  EXPECT_EQ(config.task_type, "SEQ_CLS");
  EXPECT_EQ(config.modules_to_save, Names{"score"});
  nn::Parameters weights, adapters;
  lm::Phi phi(lm::LoadPhiConfig(world.folder / "language"), weights);
  lm::Lora lora(phi, config, adapters);
  lora.Load(into / "adapter");
  const Weights saved = ReadWeights(into / "model.safetensors");
  ASSERT_EQ(saved.size(), adapters.all().size());
  for (const auto& [path, p] : adapters.all()) {
    const at::Tensor values = p.detach().to(at::kDouble).contiguous();
    EXPECT_EQ(saved.at(path),
              std::vector<double>(values.const_data_ptr<double>(),
                                  values.const_data_ptr<double>() + values.numel()));
  }
}

TEST(PulseSaved, AFullModelIsAFolderThatGenerates) {
  const PulseWorld world(15, {"pulse.scorer.logit=TITLE_GENERATE"});
  const Temporary into;
  cluster::RunThreads(1, [&](cluster::Communicator& comm) {
    world.TrainBase(comm);
    const auto system = world.Build();
    const auto facts = world.Train(*system, comm, into.path());
    EXPECT_TRUE(std::ranges::any_of(facts, [](const auto& f) { return f.first == "scorer base"; }));
    auto queries = world.TestQueries();
    for (const Prediction& p : system->Predict(Task::kDirect, queries))
      for (const double score : p.scores) EXPECT_TRUE(score == 1 || std::isnan(score));
  });
  const auto model = lm::LoadLanguageModel(into / "model", {.device = "cpu"});
  size_t answers = 0;  // a model this small may end at once
  model->Generate({{.name = "a", .ids = model->Prompt("red"), .group = {}}}, {.max_new_tokens = 4},
                  [&](size_t, std::vector<lm::TextOutput> outputs) { answers += outputs.size(); });
  EXPECT_EQ(answers, 1U);
}

TEST(PulseBase, RanksGiveTheSameBaseAndItGenerates) {
  Weights one;
  for (int ranks : {1, 2, 3}) {
    const PulseWorld world(15, {"train.dtype=FP64"});
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) { world.TrainBase(comm); });
    const Weights got = ReadWeights(world.folder / "language/model.safetensors");
    if (ranks == 1)
      one = got;
    else
      EXPECT_LT(FurthestWeight(one, got), 1e-9) << ranks << " ranks";
    const auto model = lm::LoadLanguageModel(world.folder / "language", {.device = "cpu"});
    EXPECT_EQ(model->context(), 4096);
  }
}

TEST(PulseBase, LearnsTheCatalogue) {
  const PulseWorld world(40,
                         {"pulse.language.train.steps=60", "pulse.language.train.epoch_steps=60",
                          "pulse.language.train.learning_rate=3e-3"});
  cluster::RunThreads(1, [&](cluster::Communicator& comm) {
    const auto facts = world.TrainBase(comm);
    const auto best = std::ranges::find(facts, "best validation", &Facts::value_type::first);
    EXPECT_LT(std::stod(best->second), 3.5);  // ln 2756 = 7.9 at the start
  });
}

TEST(PulseErrors, SayWhatToDo) {
  const auto message = [](const Names& overrides) {
    const PulseWorld world(15, overrides);
    try {
      cluster::RunThreads(1, [&](cluster::Communicator& comm) {
        world.TrainBase(comm);
        const auto system = world.Build();
        world.Train(*system, comm, world.folder / "model");
      });
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(message({"split.train_candidates=false"}).find("split.train_candidates"),
            std::string::npos);
  EXPECT_NE(message({"pulse.language.heads=5"}).find("pulse.language: width"), std::string::npos);
}

}  // namespace
}  // namespace whyrec::systems
