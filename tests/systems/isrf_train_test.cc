// Training the T5 systems: one, two and three ranks give the same run; a broken run continues to the
// last bit; eight users are learnt by heart.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "src/store/workspace.h"
#include "tests/systems/world.h"

namespace whyrec::systems {
namespace {

using cluster::Communicator;
using cluster::Reduce;

// Passes everything on. Keeps the sums of single values, which are the text losses (losses.csv has nine
// digits, fewer than the comparison needs), and fails at a chosen operation.
class Spy final : public Communicator {
 public:
  explicit Spy(Communicator& comm, int64_t last = -1) : comm_(comm), left_(last) {}
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }
  void AllReduce(void* values, int64_t count, DType dtype, Reduce op) override {
    if (left_-- == 0) throw Broken();
    comm_.AllReduce(values, count, dtype, op);
    if (count == 1 && dtype == DType::kF64) sums.push_back(*static_cast<double*>(values));
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return comm_.AllGather(bytes, n);
  }
  void Broadcast(void* bytes, size_t n, int root) override { comm_.Broadcast(bytes, n, root); }
  void Barrier() override { comm_.Barrier(); }
  void Abort(int code) override { comm_.Abort(code); }

  struct Broken {};
  std::vector<double> sums;

 private:
  Communicator& comm_;
  int64_t left_;
};

struct Trained {
  std::vector<double> text, total;  // per step; text also holds validation sums
  std::vector<std::string> tasks;
  store::TensorMap model;
};

Trained TrainOn(const World& world, int ranks) {
  Temporary folder;
  std::vector<std::unique_ptr<Recommender>> systems;  // built here: HDF5 belongs to one thread
  for (int i = 0; i < ranks; ++i) systems.push_back(world.Build());
  Trained run;
  cluster::RunThreads(ranks, [&](Communicator& comm) {
    Spy spy(comm);
    world.Train(*systems[static_cast<size_t>(comm.rank())], spy, folder.path());
    if (comm.rank() == 0) run.text = spy.sums;
  });
  std::istringstream lines(store::ReadTextFile(folder / "losses.csv"));
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);) {
    const size_t first = line.find(','), last = line.rfind(',');
    run.tasks.push_back(line.substr(first + 1, last - first - 1));
    run.total.push_back(std::stod(line.substr(last + 1)));
  }
  for (const auto& [name, value] : store::ReadSafetensors(folder / "model.safetensors"))
    run.model[name] = value.Clone();
  return run;
}

double Furthest(const std::vector<double>& a, const std::vector<double>& b) {
  double far = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i)
    far = std::max(far, std::abs(a[i] - b[i]) / std::max(1.0, std::abs(a[i])));
  return far;
}

struct Case {
  std::string name;
  std::vector<std::string> overrides;
  double tolerance;
  int tasks = 3;
};

// 7 samples over 2 and 3 ranks: unequal shares, and rows whose padding only the global batch knows.
class Ranks : public testing::TestWithParam<Case> {};

TEST_P(Ranks, GiveTheSameRun) {
  std::vector<std::string> overrides = {"train.steps=60", "train.epoch_steps=40", "seed=4"};
  overrides.insert(overrides.end(), GetParam().overrides.begin(), GetParam().overrides.end());
  const World world(12, overrides);
  const Trained one = TrainOn(world, 1);
  ASSERT_EQ(one.total.size(), 60u);
  const std::vector<std::string> cycle = {"EXPLANATION", "SEQUENTIAL", "DIRECT"};
  for (size_t step = 0; step < 60; ++step) EXPECT_EQ(one.tasks[step], cycle[step % 3]);
  EXPECT_GT(Furthest(one.total, std::vector<double>(60, one.total[0])), 0.01) << "nothing is learnt";
  for (int ranks : {2, 3}) {
    const Trained run = TrainOn(world, ranks);
    EXPECT_EQ(run.tasks, one.tasks);
    EXPECT_LT(Furthest(one.text, run.text), GetParam().tolerance) << ranks << " ranks";
    // As many digits as the file has.
    EXPECT_LT(Furthest(one.total, run.total), std::max(1e-8, GetParam().tolerance)) << ranks;
    std::cout << GetParam().name << " ranks " << ranks << " text " << Furthest(one.text, run.text) << " total " << Furthest(one.total, run.total) << "\n";
  }
}

const std::vector<std::string> kPublishedPadding = {"isrf.loss_ignore_pad=false",
                                                    "isrf.cross_attention_mask_pad=false"};

Case Make(const std::string& name, const std::string& variant, const std::string& dtype,
          bool published_padding, const std::string& stop) {
  Case out{name, {"isrf.variant=" + variant, "train.dtype=" + dtype, "train.stop=" + stop},
           dtype == "FP64" ? 1e-9 : 1e-5};
  if (published_padding)
    out.overrides.insert(out.overrides.end(), kPublishedPadding.begin(), kPublishedPadding.end());
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    Isrf, Ranks,
    testing::Values(Make("IsrfMasked64", "ISRF_CODE", "FP64", false, "METRIC"),
                    Make("IsrfPadded64", "ISRF_CODE", "FP64", true, "LOSS_MEAN3"),
                    Make("IsrfMasked32", "ISRF_CODE", "FP32", false, "LOSS_MEAN3"),
                    Make("IsrfPadded32", "ISRF_CODE", "FP32", true, "METRIC"),
                    Make("Elmrec64", "ELMREC", "FP64", true, "LOSS_MEAN3"),
                    Make("Elmrec32", "ELMREC", "FP32", false, "LOSS_MEAN3"),
                    Make("Pod64", "POD", "FP64", true, "LOSS_MEAN3"),
                    Make("Pod32", "POD", "FP32", false, "LOSS_MEAN3")),
    [](const auto& info) { return info.param.name; });

// With dropout, on one rank: a communicator that fails takes the place of a kill.
TEST(Isrf, ContinuesToTheLastBit) {
  const World world(12, {"train.steps=8", "train.epoch_steps=5", "train.dropout=0.1",
                         "train.checkpoint_steps=3", "train.stop=LOSS_MEAN3"});
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
    EXPECT_EQ(store::ReadTextFile(broken / file), store::ReadTextFile(whole / file)) << file;
}

TEST(Isrf, MoreRanksThanSamplesIsAnError) {
  const World world(12, {"train.global_batch=2"});
  Temporary folder;
  std::vector<std::unique_ptr<Recommender>> systems;
  for (int i = 0; i < 3; ++i) systems.push_back(world.Build());
  const auto train = [&](Communicator& comm) {
    world.Train(*systems[static_cast<size_t>(comm.rank())], comm, folder.path());
  };
  EXPECT_THROW(cluster::RunThreads(3, train), Error);
}

// Isrf's own alignment loss has no floor, so it is off: what is left is the text loss.
TEST(Isrf, LearnsEightUsersByHeart) {
  const World world(8, {"isrf.task=SEQUENTIAL", "isrf.align.sequential=0", "train.steps=250",
                        "train.epoch_steps=250", "train.global_batch=16", "train.learning_rate=0.01",
                        "isrf.backbone.d_model=32", "isrf.backbone.d_ff=64", "isrf.alpha=1"});
  Temporary folder;
  const auto self = cluster::MakeSelf();
  const auto system = world.Build();
  world.Train(*system, *self, folder.path());
  std::istringstream lines(store::ReadTextFile(folder / "losses.csv"));
  std::vector<double> losses;
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);)
    losses.push_back(std::stod(line.substr(line.rfind(',') + 1)));
  double last = 0;
  for (size_t i = losses.size() - 20; i < losses.size(); ++i) last += losses[i] / 20;
  for (size_t i = 0; i < losses.size(); i += 25) std::cout << losses[i] << " ";
  EXPECT_GT(losses[0], 2);
  EXPECT_LT(last, 0.05);
}

}  // namespace
}  // namespace whyrec::systems
