// Rates, groups, decay and clipping against torch.optim.AdamW, clip_grad_norm_ and transformers'
// schedules (tests/golden/make_optimizer.py); through the loop on one to three ranks.
#include "src/train/schedule.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <mutex>

#include "src/base/log.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/checkpoint.h"
#include "src/train/trainer.h"
#include "tests/golden/bound.h"
#include "tests/golden/folder.h"
#include "tests/store/temporary.h"

namespace whyrec::train {
namespace {

using config::TrainConfig;
constexpr int64_t kGoldenSteps = 12;
constexpr const char* kPaths[] = {"map", "bias", "log_tau"};

const store::TensorMap& Golden() {
  static const store::TensorMap map =
      store::ReadSafetensors(kGolden / "optimizer_golden.safetensors");
  return map;
}
at::Tensor Get(const std::string& name) { return tensor::View(Golden().at(name)); }

// A loss whose gradients are the golden ones; each rank brings its share of every gradient.
class Given final : public Trainable {
 public:
  Given(cluster::Communicator& comm, at::ScalarType dtype) : comm_(comm), parameters_(dtype) {
    c10::NoGradGuard no_grad;
    for (const std::string path : kPaths) {
      const at::Tensor start = Get("start." + path);
      parameters_.Add(path, start.sizes()).copy_(start);
    }
  }
  nn::Parameters& parameters() override { return parameters_; }
  ParameterRule RuleFor(const std::string& path) const override {
    if (path == "log_tau") return {.learning_rate = 0.05, .decay = false};
    return {.decay = path == "map"};
  }
  int64_t steps_per_epoch() const override { return 4; }
  StepLoss Loss(const Share& share) override {
    at::Tensor sum = at::tensor(0.0, parameters_.Get("map").options());
    for (const std::string path : kPaths)
      sum = sum + (parameters_.Get(path) *
                   Get("gradient." + path)[share.step].to(parameters_.dtype()) / comm_.size())
                      .sum();
    return {.own = sum, .shared = {}, .task = "given"};
  }
  Validation Validate(int64_t step) override { return {static_cast<double>(-step), true, {}}; }

 private:
  cluster::Communicator& comm_;
  nn::Parameters parameters_;
};

struct ScheduleCase {
  const char* name;
  TrainConfig::Schedule schedule;
  double warmup;
};
constexpr ScheduleCase kCases[] = {{"constant", TrainConfig::CONSTANT, 0},
                                   {"linear", TrainConfig::LINEAR, 0.2},
                                   {"cosine", TrainConfig::COSINE, 0.2}};

TrainConfig ConfigOf(const ScheduleCase& c) {
  TrainConfig config;
  config.set_epochs(3);
  config.set_learning_rate(0.01);
  config.set_weight_decay(0.1);
  config.set_beta2(0.98);
  config.set_clip_norm(1.5);
  config.set_schedule(c.schedule);
  config.set_warmup(c.warmup);
  config.set_patience_rule(TrainConfig::CONSECUTIVE);
  return config;
}

// The largest share of a bound.
double Furthest(const ScheduleCase& c, at::ScalarType dtype, int ranks) {
  SetProgressMode(ProgressMode::kNone);
  Temporary folder;
  double furthest = 0;
  cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
    Given model(comm, dtype);
    train::Run(model, ConfigOf(c), folder.path(), comm);
    comm.Barrier();
    if (comm.rank() != 0) return;
    for (const std::string path : kPaths)
      furthest = std::max(furthest, ShareOfBound(model.parameters().Get(path), Golden(),
                                                 Cat(c.name, ".fp64.", path), 1e-12));
  });
  return furthest;
}

TEST(Schedule, TrainingEqualsTorch) {
  for (const ScheduleCase& c : kCases)
    for (const int ranks : {1, 2, 3}) {
      const double wide = Furthest(c, at::kDouble, ranks), narrow = Furthest(c, at::kFloat, ranks);
      std::printf("%s, %d ranks, largest share of a bound: fp64 %.2g, fp32 %.2g\n", c.name, ranks,
                  wide, narrow);
      EXPECT_LT(wide, 1) << c.name;
      EXPECT_LT(narrow, 1) << c.name;
    }
}

TEST(Schedule, FactorsEqualTransformers) {
  for (const ScheduleCase& c : kCases) {
    const at::Tensor want = Get(Cat(c.name, ".fp64.factors"));
    for (int64_t step = 0; step < kGoldenSteps; ++step)
      EXPECT_NEAR(RateFactor(ConfigOf(c), step, kGoldenSteps), want[step].item<double>(), 1e-15)
          << step;
  }
}

TEST(Schedule, WarmUpOfTheWholeRun) {
  TrainConfig config = ConfigOf(kCases[2]);
  config.set_warmup(1);
  EXPECT_EQ(RateFactor(config, 0, 4), 0);
  EXPECT_EQ(RateFactor(config, 3, 4), 0.75);
}

TEST(ClipGradients, NormsEqualTorch) {
  const auto comm = cluster::MakeSelf();
  nn::Parameters parameters(at::kDouble);
  for (const std::string path : kPaths) parameters.Add(path, Get("start." + path).sizes());
  const at::Tensor want = Get("constant.fp64.norms");
  int64_t clipped = 0;
  for (int64_t step = 0; step < kGoldenSteps; ++step) {
    for (const std::string path : kPaths)
      parameters.Get(path).mutable_grad() = Get("gradient." + path)[step].clone();
    const double norm = ClipGradients(parameters, 1.5, *comm);
    EXPECT_NEAR(norm, want[step].item<double>(), 1e-13);
    const double left = ClipGradients(parameters, 1e9, *comm);
    EXPECT_NEAR(left, std::min(norm, 1.5), 1e-5);
    if (norm <= 1.5)
      EXPECT_TRUE(parameters.Get("map").grad().equal(Get("gradient.map")[step]));
    else
      ++clipped;
  }
  EXPECT_GT(clipped, 0);
  EXPECT_LT(clipped, kGoldenSteps);
}

TEST(ClipGradients, WithoutGradientsNothingHappens) {
  const auto comm = cluster::MakeSelf();
  nn::Parameters parameters;
  parameters.Add("a", {2});
  EXPECT_EQ(ClipGradients(parameters, 1, *comm), 0);
}

}  // namespace
}  // namespace whyrec::train
