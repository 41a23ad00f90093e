// Training the T5 systems: one, two and three ranks give the same run; a broken run continues to
// the last bit; eight users are learnt by heart.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <sstream>

#include "src/store/workspace.h"
#include "tests/systems/world.h"

namespace whyrec::systems {
namespace {

using cluster::Communicator;
using cluster::Pending;
using cluster::Place;
using cluster::Reduce;
using cluster::Sizes;

// Passes everything on. Keeps the sums of single values, which are the text losses (losses.csv has
// nine digits, fewer than the comparison needs), and fails at a chosen operation.
class Spy final : public Communicator {
 public:
  explicit Spy(Communicator& comm, int64_t last = -1) : comm_(comm), left_(last) {}
  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }
  void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place at) override {
    if (left_-- == 0) throw Broken();
    comm_.AllReduce(values, count, dtype, op, at);
    if (count == 1 && dtype == DType::kF64) sums.push_back(*static_cast<double*>(values));
  }
  std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype, Reduce op,
                                          Place at) override {
    if (left_-- == 0) throw Broken();
    return comm_.StartAllReduce(values, count, dtype, op, at);
  }
  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce op,
                     Place at) override {
    comm_.ReduceScatter(values, own, counts, dtype, op, at);
  }
  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at) override {
    comm_.AllGatherInto(own, all, bytes, at);
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return comm_.AllGather(bytes, n);
  }
  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place at) override {
    comm_.AllToAll(in, send, out, receive, at);
  }
  void Broadcast(void* bytes, size_t n, int root, Place at) override {
    comm_.Broadcast(bytes, n, root, at);
  }
  void Barrier(cluster::Waiting waiting) override { comm_.Barrier(waiting); }
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
};

void ReadLosses(const fs::path& folder, Trained& run) {
  std::istringstream lines(store::ReadTextFile(folder / "losses.csv"));
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);) {
    const size_t first = line.find(','), last = line.rfind(',');
    run.tasks.push_back(line.substr(first + 1, last - first - 1));
    run.total.push_back(std::stod(line.substr(last + 1)));
  }
}

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
  ReadLosses(folder.path(), run);
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
  EXPECT_GT(Furthest(one.total, std::vector<double>(60, one.total[0])), 0.01)
      << "nothing is learnt";
  for (int ranks : {2, 3}) {
    const Trained run = TrainOn(world, ranks);
    EXPECT_EQ(run.tasks, one.tasks);
    EXPECT_LT(Furthest(one.text, run.text), GetParam().tolerance) << ranks << " ranks";
    // As many digits as the file has.
    EXPECT_LT(Furthest(one.total, run.total), std::max(1e-8, GetParam().tolerance)) << ranks;
  }
}

const std::vector<std::string> kPublishedPadding = {"isrf.loss_ignore_pad=false",
                                                    "isrf.cross_attention_mask_pad=false"};

Case Make(const std::string& name, const std::string& variant, const std::string& dtype,
          bool published_padding, const std::string& stop) {
  Case out{name,
           {"isrf.variant=" + variant, "train.dtype=" + dtype, "train.stop=" + stop},
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
  const World world(8, {"isrf.task[0]=SEQUENTIAL", "isrf.align.sequential=0", "isrf.alpha=1",
                        "isrf.templates=" + plain.string(), "isrf.backbone.d_model=64",
                        "isrf.backbone.d_ff=64", "train.steps=240", "train.epoch_steps=240",
                        "train.global_batch=32", "train.learning_rate=0.005"});
  const auto self = cluster::MakeSelf();
  const auto system = world.Build();
  world.Train(*system, *self, folder.path());
  Trained run;
  ReadLosses(folder.path(), run);
  EXPECT_GT(run.total[0], 8) << "log 32,128 is 10.4";
  EXPECT_LT(std::accumulate(run.total.end() - 20, run.total.end(), 0.0) / 20, 0.05);
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
