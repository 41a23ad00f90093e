// GRU4Rec against PyTorch's own layers (tests/golden/make_gru4rec.py), and what it learns.
#include "src/systems/gru4rec.h"

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "src/tensor/bridge.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"
#include "tests/systems/histories.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

struct Gru4RecGolden {
  explicit Gru4RecGolden(at::ScalarType dtype)
      : tensors(store::ReadSafetensors(kGolden / "gru4rec_golden.safetensors")),
        model({.items = 9, .dim = 8, .hidden = 6, .length = 5, .dropout = 0}, dtype, at::kCPU) {
    const c10::NoGradGuard no_grad;
    for (const auto& [path, parameter] : model.parameters().all())
      parameter.detach().copy_(tensor::View(tensors.at("weight." + path)));
    const auto lengths = tensors.at("lengths").values<int64_t>();
    for (int64_t row = 0; row < std::ssize(lengths); ++row) {
      const auto inputs = tensors.at("inputs").row<int64_t>(row);
      std::vector<int64_t> items;
      for (int64_t i = 0; i < lengths[row]; ++i) items.push_back(inputs[i] - 1);
      const int64_t target = tensors.at("targets").values<int64_t>()[row] - 1;
      examples.users.push_back(row);
      examples.positives.Append(std::span(&target, 1));
      examples.inputs.Append(items);
      queries.push_back({row, items, {}});
    }
  }

  store::TensorMap tensors;
  Gru4Rec model;
  ranking::Examples examples;
  std::vector<Query> queries;
};

TEST(Gru4Rec, ScoresLossAndGradientsArePyTorchs) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    Gru4RecGolden golden(dtype);
    {
      const c10::NoGradGuard no_grad;
      EXPECT_LT(ShareOfBound(golden.model.Scores(golden.queries, {0, 9}), golden.tensors, "scores"),
                1);
    }
    const at::Tensor loss = golden.model.LossSum(golden.examples, {});
    loss.backward();
    EXPECT_LT(ShareOfBound(loss.view({1}), golden.tensors, "loss"), 1);
    for (const auto& [path, parameter] : golden.model.parameters().all())
      EXPECT_LT(ShareOfBound(parameter.grad(), golden.tensors, "grad." + path), 1) << path;
  }
}

// A range of items is a part of the whole, and padding by longer neighbours changes nothing.
TEST(Gru4Rec, ScoresDoNotDependOnTheBatch) {
  const c10::NoGradGuard no_grad;
  Gru4RecGolden golden(at::kDouble);
  const at::Tensor all = golden.model.Scores(golden.queries, {0, 9});
  for (size_t i = 0; i < golden.queries.size(); ++i) {
    const at::Tensor one = golden.model.Scores(std::span(golden.queries).subspan(i, 1), {2, 7});
    EXPECT_LT((one - all.narrow(0, static_cast<int64_t>(i), 1).narrow(1, 2, 5))
                  .abs()
                  .max()
                  .item<double>(),
              1e-12);
  }
}

TEST(Gru4Rec, LearnsOrder) {
  const World world(
      CatalogueOf(Circle(), 12),
      SettingsOf("gru4rec", {"dim=16", "hidden=16", "dropout=0.1"},
                 {"train.steps=150", "train.learning_rate=0.01", "train.global_batch=16",
                  "train.epoch_steps=50", "train.stop=LOSS_MEAN3"}));
  const Temporary folder;
  const auto system = world.Build("gru4rec");
  world.Train(*system, *cluster::MakeSelf(), folder.path());
  system->Load(folder.path());
  int right = 0;
  for (int64_t user = 0; user < 36; ++user) {
    const auto history =
        world.split.labels.InputHistory(data::Phase::kTest, world.split.train, user);
    const int64_t target = world.split.labels.Target(data::Phase::kTest, user);
    const auto ranked =
        system->Rank(Task::kSequential, {{user, history, {}}}, std::vector<int64_t>{target}, {});
    right += ranked[0].rank->greater == 0;
  }
  EXPECT_GE(right, 33);
}

}  // namespace
}  // namespace whyrec::systems
