// Training the T5 systems: a broken run continues to the last bit; eight users are learnt by heart.
#include <gtest/gtest.h>

#include <numeric>

#include "src/base/text_file.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

// With dropout, on one rank: a communicator that fails takes the place of a kill.
TEST(Isrf, ContinuesToTheLastBit) {
  const World world(12, {"train.steps=8", "train.epoch_steps=5", "train.checkpoint_steps=3",
                         "train.stop=LOSS_MEAN3"});
  const auto self = cluster::MakeSelf();
  Temporary whole, broken;
  world.Train(*world.Build(), *self, whole.path());
  for (int64_t operations : {9, 7}) {
    Spy failing(*self, operations);
    EXPECT_THROW(world.Train(*world.Build(), failing, broken.path()), Spy::Broken);
  }
  ASSERT_TRUE(fs::exists(broken / ".checkpoint"));
  world.Train(*world.Build(), *self, broken.path());
  for (const char* file : {"losses.csv", "model.safetensors"})
    EXPECT_EQ(ReadFile(broken / file), ReadFile(whole / file)) << file;
}

TEST(Isrf, MoreRanksThanSamplesIsAnError) {
  const World world(12, {"train.global_batch=2"});
  Temporary folder;
  std::vector<std::unique_ptr<Recommender>> systems;
  for (int i = 0; i < 3; ++i) systems.push_back(world.Build());
  const auto train = [&](cluster::Communicator& comm) {
    world.Train(*systems[static_cast<size_t>(comm.rank())], comm, folder.path());
  };
  EXPECT_THROW(cluster::RunThreads(3, train), Error);
}

// The training history without its last item, which is the answer.
std::vector<Query> LastOfTraining(const World& world) {
  std::vector<Query> out;
  for (int64_t user = 0; user < world.split.train.user_count(); ++user) {
    const auto history = world.split.train.histories.row(user);
    out.push_back({user, {history.begin(), history.end() - 1}, {}});
  }
  return out;
}

// The alignment loss has no floor, so it is off: what is left is the text loss of the next item.
TEST(Isrf, LearnsEightUsersByHeart) {
  Temporary folder;
  const fs::path plain = folder / "templates.json";
  std::ofstream(plain) << R"({"sequential": ["user_{} item_{}"], "direct": ["user_{} item_{}"],)"
                       << R"( "explanation": ["user_{} item_{}"]})";
  const World world(
      8, {"isrf.task[0]=SEQUENTIAL", "isrf.align.sequential=0", "isrf.alpha=1",
          "isrf.templates=" + plain.string(), "isrf.backbone.d_model=64", "isrf.backbone.d_ff=64",
          "train.dropout=0", "train.steps=300", "train.epoch_steps=300", "train.global_batch=32",
          "train.schedule=LINEAR",  // the end does not depend on the machine's rounding
          "train.learning_rate=0.005"});
  const auto self = cluster::MakeSelf();
  const auto system = world.Build();
  world.Train(*system, *self, folder.path());
  Trained run;
  ReadLosses(folder.path(), run);
  EXPECT_GT(run.total[0], 8) << "log 32,128 is 10.4";
  const double last = std::accumulate(run.total.end() - 20, run.total.end(), 0.0) / 20;
  std::printf("  loss: %.4f\n", last);
  EXPECT_LT(last, 0.2) << "a piece of an item number is given a probability above .8";
  system->Load(folder.path());
  const auto predictions = system->Predict(Task::kSequential, LastOfTraining(world));
  for (int64_t user = 0; user < 8; ++user)
    EXPECT_EQ(predictions[static_cast<size_t>(user)].list.at(0),
              world.split.train.histories.row(user).back());
}

// Under STRICT nothing of a batch mate reaches an answer: padding is masked everywhere.
TEST(Isrf, AnswersDoNotDependOnBatchMates) {
  const World world(12, {"train.dtype=FP64", "train.steps=3"});
  Temporary folder;
  const auto self = cluster::MakeSelf();
  const auto system = world.Build();
  world.Train(*system, *self, folder.path());
  system->Load(folder.path());
  for (const Task task : {Task::kSequential, Task::kDirect}) {
    auto queries = LastOfTraining(world);
    for (Query& query : queries)
      if (task == Task::kDirect)
        query.candidates = world.split.labels.Candidates(data::Phase::kTest, query.user);
    const auto together = system->Predict(task, queries);
    for (size_t q = 0; q < queries.size(); ++q) {
      auto list = system->Predict(task, {queries[q]})[0].list;
      EXPECT_EQ(list, together[q].list) << NameOf(task) << q;
      EXPECT_EQ(list.size(), 10u);
      if (task == Task::kSequential) continue;
      std::vector<int64_t> candidates(queries[q].candidates.begin(), queries[q].candidates.end());
      std::ranges::sort(candidates);
      std::ranges::sort(list);
      EXPECT_EQ(list, candidates);  // twenty beams hold all ten
    }
  }
}

// Ten candidates fit into twenty beams, so the search misses none and finds the exact order.
TEST(Isrf, ExactAnswersAreThoseOfBeamsEnough) {
  const std::vector<std::string> overrides = {"train.dtype=FP64", "train.steps=3"};
  const World searched(12, overrides);
  auto exact_overrides = overrides;
  exact_overrides.push_back("predict.direct_decode=EXACT");
  const World exact(12, exact_overrides);
  Temporary folder;
  const auto self = cluster::MakeSelf();
  const auto system = searched.Build(), other = exact.Build();
  searched.Train(*system, *self, folder.path());
  system->Load(folder.path());
  other->Load(folder.path());
  auto queries = LastOfTraining(searched);
  for (Query& query : queries)
    query.candidates = searched.split.labels.Candidates(data::Phase::kTest, query.user);
  const auto found = system->Predict(Task::kDirect, queries);
  const auto ranked = other->Predict(Task::kDirect, queries);
  for (size_t q = 0; q < queries.size(); ++q) EXPECT_EQ(ranked[q].list, found[q].list) << q;
}

}  // namespace
}  // namespace whyrec::systems
