// Every system that trains, as configs/tiny has it: 1, 2, 3 and 4 ranks take the same batches in
// the same order and end with the same weights. In fp64 anything but rounding would show.
#include <gtest/gtest.h>

#include "tests/systems/training.h"

namespace whyrec::systems {
namespace {

using Names = std::vector<std::string>;

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

class TinyRanks : public testing::TestWithParam<Case> {};

TEST_P(TinyRanks, GiveTheSameRun) {
  const World world(Load(GetParam()));
  const std::string system = world.config.system(0).name();
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
