// Every system that trains, as configs/tiny has it: 1, 2, 3 and 4 ranks take the same batches in
// the same order and end with the same weights. In fp64 anything but rounding would show.
#include <gtest/gtest.h>

#include "src/stages/stage.h"
#include "tests/stages/tiny.h"
#include "tests/systems/histories.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

struct Case {
  std::string name, file;  // of configs/tiny
  bool fp64;
  Names overrides = {};
};

void PrintTo(const Case& run, std::ostream* out) { *out << run.name; }

config::RunConfig Load(const Case& run) {
  Names overrides = run.overrides;
  overrides.push_back(run.fp64 ? "train.dtype=FP64" : "train.dtype=FP32");
  return config::Load(fs::path(WHYREC_SOURCE_DIR) / "configs/tiny" / (run.file + ".txtpb"),
                      overrides);
}

// |a - b| / |a| of one tensor.
double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double square = 0, far = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    square += a[i] * a[i];
    far += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return std::sqrt(far / std::max(square, 1e-300));
}

double FurthestWeights(const Trained& a, const Trained& b) {
  double far = a.weights.size() == b.weights.size() ? 0 : INFINITY;
  for (const auto& [path, values] : a.weights)
    far = std::max(far, Distance(values, b.weights.at(path)));
  return far;
}

// What the stages before PULSE's scorer make of the world's configuration, in the world's folder.
// Returns those stages.
std::vector<stages::Stage> MakeReasons(const World& world) {
  const auto alone = cluster::MakeSelf();
  store::Workspace workspace(world.folder.path());
  std::vector<stages::Stage> made;
  for (const stages::Stage& stage : stages::Chain(world.config)) {
    if (stage.name.starts_with("train.pulse")) break;
    fs::create_directories(workspace.Of(stage.name));
    stage.run({world.config, *alone, workspace, {}, stage.name}, workspace.Of(stage.name));
    made.push_back(stage);
  }
  return made;
}

class TinyRanks : public testing::TestWithParam<Case> {};

// Node tables distributed over 1 to 4 ranks against all of them on one: losses and weights, with
// clipping, penalties, decay, micro-batches, and validation by both rules.
TEST(TinyRanks, RowsGiveTheRunOfReplicatedTables) {
  struct Placed {
    std::string file, system, stop;
  };
  for (const auto& [file, system, stop] :
       {Placed{"lightgcn", "lightgcn", "METRIC"}, Placed{"lightgcn", "lightgcn", "LOSS_MEAN3"},
        Placed{"isrf", "isrf", "METRIC"}, Placed{"isrf", "isrf", "LOSS_MEAN3"},
        Placed{"elmrec", "isrf", "LOSS_MEAN3"}})
    for (const bool fp64 : {true, false}) {
      // The rules of validation and fp32 differ little from the rest: on three ranks only.
      const bool brief = !fp64 || stop == "METRIC";
      if (!fp64 && stop == "METRIC") continue;
      const Names shared = {"train.clip_norm=0.5", "train.micro_batch=3", "train.stop=" + stop};
      Case whole{"", file, fp64, shared}, rows = whole;
      rows.overrides.push_back("graphs.placement=ROWS");
      const World world(Load(whole)), distributed(Load(rows));
      const Trained one = TrainOn(world, system, 1);
      for (const int ranks : brief ? std::vector{3} : std::vector{1, 2, 3, 4}) {
        const Trained run = TrainOn(distributed, system, ranks);
        const double far_total = Furthest(one.total, run.total), far = FurthestWeights(one, run);
        EXPECT_LT(far_total, fp64 ? 1e-8 : 1e-5) << ranks << " ranks";  // the file has nine digits
        EXPECT_LT(far, fp64 ? 1e-9 : 1e-4) << ranks << " ranks";
        std::cout << "  " << file << " ROWS" << (fp64 ? "64, " : "32, ") << ranks
                  << " ranks: losses " << far_total << ", weights " << far << "\n";
      }
    }
}

// Broken on 3 ranks, continued on 2 with the table on every rank, then broken and continued on 1.
TEST(TinyRanks, CheckpointsOfRowsContinueAnywhere) {
  const Names shared = {"train.checkpoint_steps=3"};
  Case whole{"", "lightgcn", true, shared}, rows = whole;
  rows.overrides.push_back("graphs.placement=ROWS");
  const World world(Load(whole)), distributed(Load(rows));
  const Trained one = TrainOn(world, "lightgcn", 1);
  const Temporary folder;
  const auto train = [&](const World& as, int ranks, int64_t operations) {
    std::vector<std::unique_ptr<Recommender>> systems;
    for (int i = 0; i < ranks; ++i) systems.push_back(as.Build("lightgcn"));
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      Spy spy(comm, operations);
      as.Train(*systems[static_cast<size_t>(comm.rank())], spy, folder.path());
    });
  };
  EXPECT_THROW(train(distributed, 3, 15), Spy::Broken);
  ASSERT_TRUE(fs::exists(folder / ".checkpoint"));
  EXPECT_THROW(train(world, 2, 15), Spy::Broken);
  train(distributed, 1, -1);
  Trained run;
  ReadLosses(folder.path(), run);
  for (const auto& [path, tensor] : store::ReadSafetensors(folder / "model.safetensors"))
    run.weights[path] = Doubles(tensor);
  EXPECT_LT(Furthest(one.total, run.total), 1e-8);
  EXPECT_LT(FurthestWeights(one, run), 1e-9);
}

TEST_P(TinyRanks, GiveTheSameRun) {
  const World world(Load(GetParam()));
  const std::string system = world.config.system(0).name();
  if (system == "pulse") {
    WR_NEEDS_ENCODER();  // its vocabulary
    ASSERT_GT(MakeReasons(world).size(), 5U);
  }
  const Trained one = TrainOn(world, system, 1);
  ASSERT_EQ(std::ssize(one.total), world.config.train().steps());
  const Names cycle = {"EXPLANATION", "SEQUENTIAL", "DIRECT"};
  for (size_t step = 0; system == "isrf" && step < one.tasks.size(); ++step)
    EXPECT_EQ(one.tasks[step], cycle[step % 3]);
  EXPECT_GT(Furthest(one.total, std::vector<double>(one.total.size(), one.total[0])), 1e-3)
      << "nothing is learnt";
  const double losses = GetParam().fp64 ? 1e-9 : 1e-5, weights = GetParam().fp64 ? 1e-9 : 1e-4;
  for (int ranks : {2, 3, 4}) {
    const Trained run = TrainOn(world, system, ranks);
    EXPECT_EQ(run.tasks, one.tasks);
    const double far_sums = Furthest(one.sums, run.sums),
                 far_total = Furthest(one.total, run.total);
    const double far_weights = FurthestWeights(one, run);
    EXPECT_LT(far_sums, losses) << ranks << " ranks";
    EXPECT_LT(far_total, std::max(1e-8, losses)) << ranks << " ranks";  // the file has nine digits
    EXPECT_LT(far_weights, weights) << ranks << " ranks";
    std::cout << "  " << GetParam().name << ", " << ranks << " ranks: losses " << far_sums
              << ", weights " << far_weights << "\n";
  }
}

Trained TrainStageOn(const stages::Stage& stage, const World& world, int ranks) {
  const Temporary folder;
  store::Workspace workspace(world.folder.path());
  cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
    stage.run({world.config, comm, workspace, {}, stage.name}, folder.path());
  });
  Trained run;
  ReadLosses(folder.path(), run);
  for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
    if (entry.path().extension() == ".safetensors" && entry.path().parent_path().stem() != "start")
      for (const auto& [path, tensor] : store::ReadSafetensors(entry.path()))
        run.weights[entry.path().lexically_relative(folder.path()).string() + " " + path] =
            Doubles(tensor);
  return run;
}

// Over all weights together: biases of keys have no gradient but for rounding, which Adam enlarges.
double DistanceOfAll(const Trained& a, const Trained& b) {
  std::vector<double> all, others;
  for (const auto& [path, values] : a.weights) {
    const std::vector<double>& other = b.weights.at(path);
    all.insert(all.end(), values.begin(), values.end());
    others.insert(others.end(), other.begin(), other.end());
  }
  return Distance(all, others);
}

// The networks that PULSE's scorer builds on.
TEST(TinyRanks, GiveTheSameBaseAndThoughts) {
  WR_NEEDS_ENCODER();
  for (const bool fp64 : {true, false}) {
    const World world(Load({"", "pulse_lora", fp64}));
    int trained = 0;
    for (const stages::Stage& stage : MakeReasons(world)) {
      if (stage.name != "language" && stage.name != "thoughts") continue;
      ++trained;
      const Trained one = TrainStageOn(stage, world, 1);
      EXPECT_GT(Furthest(one.total, std::vector<double>(one.total.size(), one.total[0])), 1e-3)
          << "nothing is learnt";
      for (int ranks : {2, 3, 4}) {
        const Trained run = TrainStageOn(stage, world, ranks);
        const double losses = Furthest(one.total, run.total), weights = DistanceOfAll(one, run);
        EXPECT_LT(losses, fp64 ? 1e-8 : 1e-5) << stage.name;
        EXPECT_LT(weights, fp64 ? 1e-9 : 1e-4) << stage.name;
        std::cout << "  " << stage.name << (fp64 ? "64, " : "32, ") << ranks << " ranks: losses "
                  << losses << ", weights " << weights << "\n";
      }
    }
    EXPECT_EQ(trained, 2);
  }
}

// What a difference of batches looks like: with another seed the losses are far apart, so the
// comparison above would see a batch out of place.
TEST(TinyRanks, OtherBatchesShow) {
  Case run{"", "lightgcn", true, {"train.steps=1", "train.epoch_steps=1"}};
  const World world(Load(run));
  run.overrides.push_back("seed=1");
  const World other(Load(run));
  EXPECT_GT(Furthest(TrainOn(world, "lightgcn", 1).total, TrainOn(other, "lightgcn", 1).total),
            1e-4);
}

std::vector<Case> Cases() {
  std::vector<Case> out;
  for (const auto& entry : fs::directory_iterator(fs::path(WHYREC_SOURCE_DIR) / "configs/tiny"))
    if (const std::string file = entry.path().stem(); file != "base")
      for (bool fp64 : {true, false}) out.push_back({file + (fp64 ? "64" : "32"), file, fp64});
  std::ranges::sort(out, {}, &Case::name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Systems, TinyRanks, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace whyrec::systems
