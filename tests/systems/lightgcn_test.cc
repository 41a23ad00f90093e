// LightGCN against dense matrices in fp64 (closed-form graph, LibTorch's autograd), and what it
// learns.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <mutex>

#include "src/base/ragged.h"
#include "src/base/text_file.h"
#include "src/graph/graphs.h"
#include "src/nn/losses.h"
#include "src/nn/parameters.h"
#include "src/nn/sparse.h"
#include "src/ranking/samplers.h"
#include "src/systems/lightgcn.h"
#include "src/tensor/bridge.h"
#include "tests/systems/histories.h"
#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

// 6 users, 9 items; the last two of each row are held out. Degrees 1 to 4, item 8 without an edge.
const Histories kSmall = {{0, 1, 2, 5, 8}, {1, 3, 0, 4},       {2, 7, 3, 1, 6, 8},
                          {0, 4, 5},       {6, 0, 1, 2, 7, 3}, {5, 6, 7, 0, 2}};
constexpr int64_t kUsers = 6, kItems = 9, kNodes = kUsers + kItems + 1, kWidth = 8, kBatch = 7;
constexpr double kL2 = 0.05;

// D^-1/2 A D^-1/2 of training positions, F64 [M, M], by its definition.
at::Tensor DenseGraph(const World& world) {
  const auto& histories = world.split.train.histories;
  std::vector<double> degree(kNodes);
  const auto for_each = [&](const auto& act) {
    for (int64_t u = 0; u < kUsers; ++u)
      for (int64_t item : histories.row(u)) act(u + 1, kUsers + 1 + item);
  };
  for_each([&](int64_t a, int64_t b) { ++degree[a], ++degree[b]; });
  const at::Tensor out = at::zeros({kNodes, kNodes}, at::kDouble);
  double* values = out.data_ptr<double>();
  for_each([&](int64_t a, int64_t b) {
    values[a * kNodes + b] = values[b * kNodes + a] = 1 / std::sqrt(degree[a] * degree[b]);
  });
  return out;
}

at::Tensor DenseMean(const at::Tensor& graph, const at::Tensor& start, int layers) {
  at::Tensor layer = start, sum = start;
  for (int k = 0; k < layers; ++k) sum = sum + (layer = at::mm(graph, layer));
  return sum / (layers + 1);
}

double Far(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor Start(const World& world) {
  const at::Tensor out = at::empty({kNodes, kWidth}, at::kDouble);
  nn::FillNormal(out, "nodes", world.config.seed(), 0.1);
  return out;
}

TEST(LightGcn, LayersEqualDenseProducts) {
  const World world(CatalogueOf(kSmall, kItems), SettingsOf("lightgcn", {}, {}));
  const auto stored = graph::InteractionGraph(world.split.train.histories, kItems);
  const nn::SparseOperator a(stored, true);
  const at::Tensor exact = DenseGraph(world);
  at::Tensor entries = at::zeros({kNodes, kNodes}, at::kDouble);
  for (int64_t row = 0; row < kNodes; ++row)
    for (int64_t k = stored.offsets[row]; k < stored.offsets[row + 1]; ++k)
      entries[row][stored.indices[k]] += stored.Weight(row, k);
  EXPECT_LT(Far(entries, exact), 1e-15);
  at::Tensor z = Start(world), dense = z, single = z.to(at::kFloat);
  double far = 0, far_single = 0;
  for (int k = 1; k <= 3; ++k) {
    z = a.Multiply(z);
    single = a.Multiply(single);
    dense = at::mm(exact, dense);
    far = std::max(far, Far(z, dense));
    far_single = std::max(far_single, Far(single, dense));
  }
  EXPECT_LT(far, 1e-12);
  EXPECT_LT(far_single, 1e-6);
  std::cout << "  layers: fp64 " << far << ", fp32 " << far_single << "\n";
}

struct Reference {
  double loss;
  at::Tensor gradient;
};

// The first batch's loss as it is written, on a dense graph.
Reference DenseStep(const World& world, const at::Tensor& graph) {
  const at::Tensor start = Start(world).set_requires_grad(true);
  const at::Tensor z = DenseMean(graph, start, 3);
  const auto& histories = world.split.train.histories;
  const auto pairs =
      ranking::Pair(histories, histories, kItems, world.config.seed())->Draw(0, kBatch);
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (size_t i = 0; i < kBatch; ++i) {
    const int64_t u = pairs.users[i] + 1, liked = pairs.positives.values[i] + kUsers + 1,
                  other = pairs.negatives[i] + kUsers + 1;
    sum = sum + at::log1p((z[u].dot(z[other]) - z[u].dot(z[liked])).exp());
    for (int64_t node : {u, liked, other}) sum = sum + start[node].square().sum() * (kL2 / 2);
  }
  const at::Tensor loss = sum / static_cast<double>(kBatch);
  loss.backward();
  return {loss.item<double>(), start.grad()};
}

struct Step {
  double loss = 0;
  at::Tensor gradient = at::zeros({kNodes, kWidth}, at::kDouble);
};

// The first batch over ranks, each in two passes.
Step StepOn(const World& world, int ranks) {
  std::vector<std::unique_ptr<LightGcn>> models;  // built here: HDF5 belongs to one thread
  const System& system = FindSystem("lightgcn");
  for (int i = 0; i < ranks; ++i)
    models.push_back(std::make_unique<LightGcn>(
        BuildContext{.config = world.config,
                     .train = world.split.train,
                     .knobs = KnobValues(system, world.config.system(0)),
                     .artefacts = {{"graphs", world.folder / "graphs"}}}));
  const auto& histories = world.split.train.histories;
  const auto sampler = ranking::Pair(histories, histories, kItems, world.config.seed());
  Step out;
  std::mutex mutex;
  cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
    LightGcn& model = *models[static_cast<size_t>(comm.rank())];
    model.Join(train::Team(comm));
    model.Initialise(world.config.seed());
    const train::Slice slice = train::RankSlice(kBatch, comm.rank(), ranks);
    model.BeginStep(sampler->Draw(slice.begin, slice.end));
    double sum = 0;
    for (int64_t part : {0, 1}) {
      const train::Slice pass = train::PartSlice(slice, {part, 2});
      if (pass.size() == 0) continue;
      const at::Tensor loss = model.LossSum(sampler->Draw(pass.begin, pass.end), {}) / kBatch;
      loss.backward();
      sum += loss.item<double>();
    }
    model.EndStep();
    const at::Tensor gradient = model.parameters().Get("nodes").grad().to(at::kDouble);
    const nn::Shard* shard = model.parameters().ShardOf("nodes");
    const std::lock_guard lock(mutex);
    out.loss += sum;
    if (shard)
      out.gradient.index_copy_(0, at::tensor(shard->rows(), at::kLong), gradient);
    else
      out.gradient = gradient;  // the same on all ranks
  });
  return out;
}

TEST(LightGcn, LossAndGradientEqualDenseOnes) {
  for (const bool fp64 : {true, false}) {
    double far_loss = 0, far_gradient = 0;
    for (const char* placement : {"REPLICATED", "ROWS"}) {
      const World world(CatalogueOf(kSmall, kItems),
                        SettingsOf("lightgcn", {Cat("dim=", kWidth), Cat("l2=", kL2)},
                                   {Cat("graphs.placement=", placement),
                                    fp64 ? "train.dtype=FP64" : "train.dtype=FP32"}));
      const Reference want = DenseStep(world, DenseGraph(world));
      EXPECT_GT(want.gradient.abs().max().item<double>(), 1e-3);
      for (const int ranks : {1, 2, 3}) {
        const Step step = StepOn(world, ranks);
        far_loss = std::max(far_loss, std::abs(step.loss - want.loss));
        far_gradient = std::max(far_gradient, Far(step.gradient, want.gradient));
      }
    }
    EXPECT_LT(far_loss, fp64 ? 1e-12 : 1e-6);
    EXPECT_LT(far_gradient, fp64 ? 1e-12 : 1e-6);
    std::cout << (fp64 ? "  fp64" : "  fp32") << ": loss " << far_loss << ", gradient "
              << far_gradient << "\n";
  }
}

// Z of the stored start table, dense.
at::Tensor TrainedTable(const at::Tensor& graph, const fs::path& model) {
  return DenseMean(graph, tensor::View(store::ReadSafetensors(model).at("nodes")), 3);
}

TEST(LightGcn, ScoresAreProductsOfPropagatedRows) {
  const World world(CatalogueOf(kSmall, kItems), SettingsOf("lightgcn", {Cat("dim=", kWidth)},
                                                            {"train.steps=5", "train.dtype=FP64"}));
  const Temporary folder;
  const auto system = world.Build("lightgcn");
  world.Train(*system, *cluster::MakeSelf(), folder.path());
  system->Load(folder.path());
  const at::Tensor graph = DenseGraph(world);
  const at::Tensor z = TrainedTable(graph, folder / "model.safetensors");
  for (int64_t user = 0; user < kUsers; ++user) {
    const std::vector<int64_t> candidates = {4, 0, 8};
    const Query all{user, {0}, {}}, some{user, {0}, candidates};
    const auto scores = system->Predict(Task::kSequential, {all})[0].scores;
    const auto few = system->Predict(Task::kDirect, {some, some})[1].scores;
    ASSERT_EQ(std::ssize(scores), kItems);
    for (int64_t item = 0; item < kItems; ++item)
      EXPECT_NEAR(scores[item], z[user + 1].dot(z[kUsers + 1 + item]).item<double>(), 1e-12);
    ASSERT_EQ(few.size(), candidates.size());
    for (size_t c = 0; c < few.size(); ++c) EXPECT_NEAR(few[c], scores[candidates[c]], 1e-12);
  }
}

// Two communities of six items. Of a user's six, four are for training; at the test one item of the
// community is left, and it has to be first.
TEST(LightGcn, LearnsCommunities) {
  Histories histories;
  for (int64_t u = 0; u < 12; ++u) {
    auto& row = histories.emplace_back();
    for (int64_t k = 0; k < 6; ++k) row.push_back((u / 2 + k) % 6 * 2 + u % 2);
  }
  const World world(
      CatalogueOf(histories, 12),
      SettingsOf("lightgcn", {"dim=8"}, {"train.steps=200", "train.learning_rate=0.01"}));
  const Temporary folder;
  const auto system = world.Build("lightgcn");
  world.Train(*system, *cluster::MakeSelf(), folder.path());
  system->Load(folder.path());
  for (int64_t u = 0; u < 12; ++u) {
    const auto scores = system->Predict(Task::kSequential, {{u, {}, {}}})[0].scores;
    std::vector<uint8_t> mask(12);
    for (size_t k = 0; k < 5; ++k) mask[histories[u][k]] = 1;
    EXPECT_EQ(eval::RankOf(scores, histories[u][5], mask).greater, 0) << u;
  }
}

std::string Table(const World& world, const fs::path& folder, Facts* facts = nullptr) {
  const auto stated = world.Train(*world.Build("lightgcn"), *cluster::MakeSelf(), folder);
  if (facts) *facts = stated;
  return ReadFile(folder / "propagated.safetensors");
}

// With the number of steps given, held-out items change nothing; a refit sees the validation item
// as an edge and a positive, and still not the test item.
TEST(LightGcn, SeesHeldOutItemsOnlyInARefit) {
  Histories other_test = kSmall, other_validation = kSmall;
  other_test[0].back() = 4;
  other_validation[0][3] = 7;
  for (const bool refit : {false, true}) {
    const Names settings =
        SettingsOf("lightgcn", {Cat("dim=", kWidth), refit ? "refit=true" : "refit=false"},
                   {"train.steps=4", "train.epoch_steps=4", "train.dtype=FP64"});
    const auto table = [&](const Histories& histories, Facts* facts = nullptr) {
      const Temporary folder;
      return Table(World(CatalogueOf(histories, kItems), settings), folder.path(), facts);
    };
    Facts facts;
    const std::string want = table(kSmall, &facts);
    EXPECT_EQ(table(other_test), want);
    EXPECT_EQ(table(other_validation) != want, refit);
    const std::map<std::string, std::string> named(facts.begin(), facts.end());
    EXPECT_EQ(named.at("edges"), refit ? "training and validation items: 23 (refit, 4 steps)"
                                       : "training items only: 17");
    EXPECT_EQ(named.at("node table"), "on every rank");
  }
}

// A communicator that fails takes the place of a kill. The refit is reached after twelve of the
// operations that the second try has left to do.
TEST(LightGcn, ContinuesToTheLastBit) {
  for (const bool refit : {false, true}) {
    const World world(
        CatalogueOf(kSmall, kItems),
        SettingsOf("lightgcn", {Cat("dim=", kWidth), refit ? "refit=true" : "refit=false"},
                   {"train.steps=8", "train.epoch_steps=4", "train.checkpoint_steps=3",
                    "train.stop=LOSS_MEAN3"}));
    const Temporary whole, broken;
    const auto self = cluster::MakeSelf();
    const std::string want = Table(world, whole.path());
    for (int64_t operations : {7, refit ? 19 : 9}) {
      Spy failing(*self, operations);
      EXPECT_THROW(world.Train(*world.Build("lightgcn"), failing, broken.path()), Spy::Broken);
    }
    EXPECT_EQ(Table(world, broken.path()), want);
    EXPECT_EQ(ReadFile(broken / "losses.csv"), ReadFile(whole / "losses.csv"));
  }
}

TEST(LightGcn, MoreRanksThanPairsIsAnError) {
  const World world(CatalogueOf(kSmall, kItems),
                    SettingsOf("lightgcn", {}, {"train.global_batch=1"}));
  EXPECT_THROW(TrainOn(world, "lightgcn", 2), Error);
}

}  // namespace
}  // namespace whyrec::systems
