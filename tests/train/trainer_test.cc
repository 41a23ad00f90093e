// The training loop on a linear model: equal results whatever the ranks, kills and signals.
#include "src/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>
#include "src/base/text_file.h"

#include "src/base/log.h"
#include "src/base/rng.h"
#include "src/base/stop.h"
#include "src/nn/dropout.h"
#include "src/store/safetensors.h"
#include "src/tensor/dist_ops.h"
#include "src/train/checkpoint.h"
#include "tests/store/temporary.h"

namespace whyrec::train {
namespace {

namespace fs = std::filesystem;
using config::TrainConfig;

constexpr int64_t kRows = 7, kWidth = 5;  // 7 rows: no two or three ranks get equal shares

// Least squares on drawn rows. Two tasks take turns; each has a parameter of its own, and a part of
// the loss is not separable by rows.
class Toy final : public Trainable {
 public:
  Toy(cluster::Communicator& comm, double dropout) : comm_(comm), dropout_(dropout) {
    for (const char* path : {"both", "even", "odd"})
      nn::FillNormal(parameters_.Add(path, {kWidth}), path, 3, 1);
  }

  nn::Parameters& parameters() override { return parameters_; }
  int64_t steps_per_epoch() const override { return 4; }

  StepLoss Loss(const Share& share) override {
    const int64_t step = share.step;
    if (at_step) at_step(step);
    const auto [begin, end] = RankSlice(kRows, comm_.rank(), comm_.size());
    const int64_t n = end - begin;
    Rng rng(5, "toy rows", static_cast<uint64_t>(step));
    std::vector<double> draws(kRows * (kWidth + 1));
    for (double& draw : draws) draw = rng.Normal();
    const at::Tensor rows = at::tensor(draws).view({kRows, kWidth + 1}).narrow(0, begin, n);
    const std::string task = step % 2 == 0 ? "even" : "odd";
    const nn::RowKeys keys =
        nn::KeysOf(nn::DrawsOf(11, step, begin, n), "toy", 1, rows.device()).At(0);
    const at::Tensor x =
        nn::Dropout(rows.narrow(1, 0, kWidth).unsqueeze(1), dropout_, keys).squeeze(1);
    const at::Tensor y = at::matmul(x, parameters_.Get("both") + parameters_.Get(task));
    const at::Tensor own = (y - rows.select(1, kWidth)).pow(2).sum() / kRows;
    return {own * factor, tensor::AllGatherGrad(y.unsqueeze(1), comm_).mean().pow(2), task};
  }

  Validation Validate(int64_t step) override {
    const at::Tensor all = parameters_.Get("both").detach();
    seen[step] = all.clone();
    if (validation) return {validation(step), true, {}};
    return {(all - 0.2).pow(2).sum().item<double>(), true, {{"distance", 0}}};
  }

  std::function<void(int64_t)> at_step;
  std::function<double(int64_t)> validation;
  std::map<int64_t, at::Tensor> seen;
  double factor = 1;

 private:
  cluster::Communicator& comm_;
  double dropout_;
  nn::Parameters parameters_{at::kDouble};
};

TrainConfig Config(int steps) {
  TrainConfig config;
  config.set_steps(steps);
  config.set_learning_rate(0.05);
  config.set_patience_rule(TrainConfig::CUMULATIVE);
  config.set_patience(1000);
  config.set_checkpoint_steps(3);
  return config;
}

struct Result {
  std::string losses, model;
  bool operator==(const Result&) const = default;
};

Result ResultOf(const fs::path& folder) {
  return {ReadFile(folder / "losses.csv"), ReadFile(folder / "model.safetensors")};
}

using Prepare = std::function<void(Toy&)>;

// One rank, with dropout.
void Train(
    const fs::path& folder, int steps, const Prepare& prepare = [](Toy&) {}) {
  SetProgressMode(ProgressMode::kNone);
  const auto comm = cluster::MakeSelf();
  Toy toy(*comm, 0.3);
  prepare(toy);
  train::Run(toy, Config(steps), folder, *comm);
}

Result Undisturbed(int steps) {
  Temporary folder;
  Train(folder.path(), steps);
  return ResultOf(folder.path());
}

struct Interrupted {};

void TrainInterrupted(const fs::path& folder, int steps, int64_t at) {
  EXPECT_THROW(Train(folder, steps,
                     [at](Toy& toy) {
                       toy.at_step = [at](int64_t step) {
                         if (step == at) throw Interrupted();
                       };
                     }),
               Interrupted);
}

// The step at which each patience rule with limit 5 stops on one sequence of validation losses.
int StopIndex(TrainConfig::Patience rule) {
  const std::vector<double> losses = {5, 4, 4.1, 3, 3.1, 2, 2.1, 1, 1.1, 0.9, 1};
  const Patience patience(rule, 5);
  double best = std::numeric_limits<double>::infinity();
  int64_t endured = 0;
  for (size_t i = 0; i < losses.size(); ++i) {
    if (!patience.Continue(losses[i] < best, endured)) return static_cast<int>(i);
    best = std::min(best, losses[i]);
  }
  return -1;
}

TEST(Patience, FifthNonImprovementInAllOrInARow) {
  EXPECT_EQ(StopIndex(TrainConfig::CUMULATIVE), 10);
  EXPECT_EQ(StopIndex(TrainConfig::CONSECUTIVE), -1);
}

TEST(Trainer, StopsByPatience) {
  Temporary folder;
  const auto comm = cluster::MakeSelf();
  Toy toy(*comm, 0);
  const std::vector<double> values = {5, 4, 6, 3, 7, 8, 1};
  toy.validation = [&](int64_t step) { return values.at(static_cast<size_t>(step / 4 - 1)); };
  TrainConfig config = Config(28);
  config.set_patience(2);
  const Facts facts = train::Run(toy, config, folder.path(), *comm);
  EXPECT_EQ(facts[0], (std::pair<std::string, std::string>("steps", "20")));  // 6 and 7 endured
  EXPECT_EQ(facts[1].second, "16");
}

TEST(Trainer, KeepsTheBestModel) {
  Temporary folder;
  const auto comm = cluster::MakeSelf();
  Toy toy(*comm, 0.3);
  toy.validation = [](int64_t step) { return std::abs(step - 8.0); };
  train::Run(toy, Config(20), folder.path(), *comm);
  Toy loaded(*comm, 0);
  LoadParameters(loaded.parameters(), folder / "model.safetensors");
  EXPECT_TRUE(loaded.parameters().Get("both").equal(toy.seen.at(8)));
  EXPECT_FALSE(toy.seen.at(8).equal(toy.seen.at(20)));
  EXPECT_FALSE(fs::exists(folder / ".checkpoint"));
}

// The published loss file: a header, then step, task and nine significant digits.
TEST(Trainer, WritesLosses) {
  std::istringstream lines(Undisturbed(6).losses);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "step,task,loss");
  size_t longest = 0;  // zeros at the end are not written
  for (int step = 1; step <= 6; ++step) {
    ASSERT_TRUE(std::getline(lines, line));
    const std::string start = Cat(step, step % 2 == 1 ? ",even," : ",odd,");
    ASSERT_EQ(line.substr(0, start.size()), start);
    const std::string digits = line.substr(start.size());
    EXPECT_EQ(Cat(std::setprecision(9), std::stod(digits)), digits);
    longest = std::max(longest, digits.size());
  }
  EXPECT_GE(longest, 10u);
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Trainer, ContinuesToTheLastBit) {
  const Result undisturbed = Undisturbed(20);
  for (int64_t at : {1, 3, 4, 11, 19}) {  // before, at and after a checkpoint; in the last step
    Temporary folder;
    TrainInterrupted(folder.path(), 20, at);
    Train(folder.path(), 20);
    EXPECT_EQ(ResultOf(folder.path()), undisturbed) << "interrupted in step " << at;
  }
}

TEST(Trainer, DoesNotTakeTornCheckpoints) {
  const Result undisturbed = Undisturbed(20);
  Temporary folder;
  TrainInterrupted(folder.path(), 20, 11);
  const fs::path checkpoints = folder / ".checkpoint";
  const fs::path whole = checkpoints / "step-0000000009";
  ASSERT_TRUE(fs::exists(whole / "progress.json"));
  fs::copy(whole, checkpoints / "step-0000000012.tmp");
  std::ofstream(checkpoints / "step-0000000012.tmp" / "model.safetensors") << "torn";
  fs::copy(whole, checkpoints / "step-0000000013");
  fs::remove(checkpoints / "step-0000000013" / "progress.json");
  std::ofstream(folder / "losses.csv", std::ios::app) << "10,odd,17\n11,ev";
  Train(folder.path(), 20);
  EXPECT_EQ(ResultOf(folder.path()), undisturbed);
}

TEST(Trainer, EqualOnOneTwoAndThreeRanks) {
  std::vector<std::map<std::string, at::Tensor>> models;
  std::vector<std::vector<double>> losses;
  for (int ranks : {1, 2, 3}) {
    Temporary folder;
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      Toy toy(comm, 0.3);
      train::Run(toy, Config(20), folder.path(), comm);
      comm.Barrier();
      if (comm.rank() != 0) return;
      LoadParameters(toy.parameters(), folder / "model.safetensors");
      models.emplace_back();
      for (const auto& [path, p] : toy.parameters().all()) models.back()[path] = p.detach().clone();
      losses.emplace_back();
      std::istringstream lines(ReadFile(folder / "losses.csv"));
      std::string line;
      for (std::getline(lines, line); std::getline(lines, line);)
        losses.back().push_back(std::stod(line.substr(line.rfind(',') + 1)));
    });
  }
  ASSERT_EQ(losses[0].size(), 20u);
  for (size_t i : {1, 2}) {
    ASSERT_EQ(losses[i].size(), 20u);
    for (size_t step = 0; step < 20; ++step)
      EXPECT_NEAR(losses[i][step] / losses[0][step], 1, 1e-8);  // as many digits as are written
    for (const auto& [path, p] : models[0])
      EXPECT_LT((models[i].at(path) - p).abs().max().item<double>(), 1e-12) << path;
  }
}

struct Final {
  std::map<std::string, at::Tensor> model;
  std::vector<double> losses;
};

Final FinalOf(const fs::path& folder) {
  const auto comm = cluster::MakeSelf();
  Toy toy(*comm, 0);
  LoadParameters(toy.parameters(), folder / "model.safetensors");
  Final out;
  for (const auto& [path, p] : toy.parameters().all()) out.model[path] = p.detach().clone();
  std::istringstream lines(ReadFile(folder / "losses.csv"));
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);)
    out.losses.push_back(std::stod(line.substr(line.rfind(',') + 1)));
  return out;
}

void TrainOn(
    int ranks, const fs::path& folder, const TrainConfig& config,
    const std::function<void(Toy&, int)>& prepare = [](Toy&, int) {},
    const cluster::CommunicatorOptions& options = {}) {
  SetProgressMode(ProgressMode::kNone);
  cluster::RunThreads(
      ranks,
      [&](cluster::Communicator& comm) {
        Toy toy(comm, 0);
        toy.validation = [](int64_t step) {
          return static_cast<double>(-step);
        };  // the last is best
        prepare(toy, comm.rank());
        train::Run(toy, config, folder, comm);
        comm.Barrier();
      },
      options);
}

void ExpectEqual(const Final& got, const Final& want) {
  ASSERT_EQ(got.losses.size(), want.losses.size());
  for (size_t step = 0; step < want.losses.size(); ++step)
    EXPECT_NEAR(got.losses[step] / want.losses[step], 1, 1e-8);  // as many digits as are written
  for (const auto& [path, p] : want.model)
    EXPECT_LT((got.model.at(path) - p).abs().max().item<double>(), 1e-12) << path;
}

// A checkpoint knows nothing of ranks.
TEST(Trainer, SavedOnFourRanksContinuesOnAnyNumber) {
  Temporary undisturbed;
  TrainOn(1, undisturbed.path(), Config(20));
  const Final want = FinalOf(undisturbed.path());
  for (const int ranks : {1, 2, 3, 4}) {
    Temporary folder;
    EXPECT_ANY_THROW(TrainOn(4, folder.path(), Config(20), [](Toy& toy, int) {
      toy.at_step = [](int64_t step) {
        if (step == 11) throw Interrupted();
      };
    }));
    std::vector<int64_t> seen;
    TrainOn(ranks, folder.path(), Config(20), [&seen](Toy& toy, int rank) {
      if (rank == 0) toy.at_step = [&seen](int64_t step) { seen.push_back(step); };
    });
    ASSERT_EQ(seen.size(), 11u) << ranks;  // from the checkpoint after step 9
    EXPECT_EQ(seen.front(), 9);
    ExpectEqual(FinalOf(folder.path()), want);
  }
}

TEST(Trainer, DeterministicRunsHaveTheSameBits) {
  TrainConfig config = Config(20);
  config.set_deterministic(true);
  std::vector<Result> results;
  for (int i = 0; i < 3; ++i) {
    Temporary folder;
    TrainOn(3, folder.path(), config);
    results.push_back(ResultOf(folder.path()));
  }
  at::globalContext().setDeterministicAlgorithms(false, false);
  EXPECT_EQ(results[1], results[0]);
  EXPECT_EQ(results[2], results[0]);
}

// Rank 1 goes silent, or throws, in step 6; the others leave with 71 and say what stands.
TEST(Trainer, ALostRankEndsTheOthersWithTheStandingCheckpoint) {
  for (const bool silent : {true, false}) {
    Temporary folder;
    std::map<int, std::string> said;
    std::mutex mutex;
    std::condition_variable changed;
    SetProgressMode(ProgressMode::kNone);
    try {
      cluster::RunThreads(3,
                          [&](cluster::Communicator& comm) {
                            Toy toy(comm, 0);
                            toy.at_step = [&](int64_t step) {
                              if (step != 5 || comm.rank() != 1) return;
                              std::unique_lock lock(mutex);
                              if (silent) changed.wait(lock, [&] { return said.size() == 2; });
                              throw Interrupted();
                            };
                            try {
                              train::Run(toy, Config(20), folder.path(), comm);
                            } catch (const Error& error) {
                              EXPECT_EQ(error.code(), Exit::kLaunch);
                              std::lock_guard lock(mutex);
                              said[comm.rank()] = error.what();
                              changed.notify_all();
                              throw;
                            }
                          },
                          {.seconds = 1, .first_seconds = 30});
      FAIL() << "no error";
    } catch (const Interrupted&) {
    } catch (const Error&) {
    }
    ASSERT_EQ(said.size(), 2u);
    for (const auto& [rank, text] : said) {
      EXPECT_NE(text.find("rank 1"), std::string::npos) << text;
      EXPECT_NE(text.find("the checkpoint after step 4 is complete"), std::string::npos) << text;
    }
    TrainOn(2, folder.path(), Config(20));  // and it does
  }
}

TEST(Trainer, SaysWhereALossIsNotFinite) {
  Temporary folder;
  try {
    Train(folder.path(), 20, [](Toy& toy) {
      toy.at_step = [&toy](int64_t step) {
        if (step == 5) toy.factor = std::numeric_limits<double>::quiet_NaN();
      };
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the odd loss of step 6 is"), std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(fs::exists(folder / ".checkpoint" / "step-0000000004" / "progress.json"));
}

// A folder that a death test's child, which runs the test from its start, finds again.
class Inherited {
 public:
  Inherited() {
    const char* given = std::getenv(kName);
    if (!given) {
      own_.emplace();
      setenv(kName, own_->path().c_str(), 1);
    }
    path = given ? fs::path(given) : own_->path();
  }
  ~Inherited() { unsetenv(kName); }
  fs::path path;

 private:
  static constexpr const char* kName = "WHYREC_TRAINER_TEST_FOLDER";
  std::optional<Temporary> own_;
};

// Ends this process with a signal after so many milliseconds; its checkpoints are written slowly
// enough for that to hit anything.
[[noreturn]] void TrainUntilKilled(const fs::path& folder, int64_t milliseconds) {
  std::thread([milliseconds] {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(getpid(), SIGKILL);
  }).detach();
  Train(folder, 60);
  std::_Exit(0);
}

TEST(TrainerDeathTest, KilledAndStartedAgain) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Inherited folder;
  Rng rng(static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()),
          "kill");
  int killed = 0;
  const auto ended = [&killed](int status) {
    killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
  };
  for (int i = 0; i < 6; ++i) {
    const int64_t milliseconds = rng.Between(10, 250);
    EXPECT_EXIT(TrainUntilKilled(folder.path, milliseconds), ended, "") << milliseconds << " ms";
  }
  EXPECT_GT(killed, 0);
  Train(folder.path, 60);
  EXPECT_EQ(ResultOf(folder.path), Undisturbed(60));
}

// Trains, and in the seventh step a signal arrives; ends with the error's code.
[[noreturn]] void TrainWithSignal(const fs::path& folder) {
  CatchStopSignals();
  try {
    Train(folder, 20, [](Toy& toy) {
      toy.at_step = [](int64_t step) {
        if (step == 6) raise(SIGUSR1);
      };
    });
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(static_cast<int>(error.code()));
  }
  std::_Exit(0);
}

TEST(TrainerDeathTest, StopSignalSavesAndTheNextRunContinues) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Inherited folder;
  EXPECT_EXIT(TrainWithSignal(folder.path), testing::ExitedWithCode(75), "after step 7");
  EXPECT_TRUE(fs::exists(folder.path / ".checkpoint" / "step-0000000007" / "progress.json"));
  Train(folder.path, 20);
  EXPECT_EQ(ResultOf(folder.path), Undisturbed(20));
}

}  // namespace
}  // namespace whyrec::train
