// launch/run.sh with two ranks on this host, against one rank.
#include "src/base/text_file.h"
#include "tests/procs/process.h"

namespace whyrec {
namespace {

const Words kRanksSettings = {"system[0].name=isrf",      "system[1].name=markov",
                              "train.steps=60",           "train.epoch_steps=20",
                              "train.checkpoint_steps=1", "execution.threads=1"};

class RanksOfThisHost : public TinyRuns {
 protected:
  void SetUp() override {
    WR_NEEDS_ENCODER();
    if (RunCommand("mpirun --version", 20).code != 0) GTEST_SKIP() << "mpirun is not installed";
    if (!fs::exists(WHYREC_BINARY_DIR "/libwhyrec_mpi.so"))
      GTEST_SKIP() << "built without MPI: no libwhyrec_mpi.so";
    setenv("WHYREC_BUILD", WHYREC_BINARY_DIR, 1);
    TinyRuns::SetUp();
  }

  Words TwoRanks(const std::string& workspace, const Words& settings = kRanksSettings) const {
    Words out = Arguments(workspace, settings);
    out.insert(out.begin(), {WHYREC_SOURCE_DIR "/launch/run.sh", "-n", "2"});
    return out;
  }

  bool Trains() const {
    return Said().find(" steps ") != std::string::npos && Checkpoints(folder_ / "ended") > 0;
  }

  // The losses of the training, in order.
  std::vector<double> Losses(const std::string& workspace,
                             const std::string& stage = "train.isrf.isrf_code") const {
    std::ifstream in(folder_ / workspace / stage / "losses.csv");
    std::vector<double> out;
    std::string line;
    for (std::getline(in, line); std::getline(in, line);)
      out.push_back(std::stod(line.substr(line.rfind(',') + 1)));
    return out;
  }
};

// Files that do not depend on the trained weights, whose last digits depend on the number of ranks.
std::map<std::string, std::string> WithoutWeights(const fs::path& workspace) {
  auto out = Contents(workspace);
  std::erase_if(out, [](const auto& file) {
    return file.first.find(".isrf_code/") != std::string::npos || file.first.starts_with("report/");
  });
  return out;
}

// Process ids of the ranks that mpirun started for run.sh.
std::vector<int> RanksOf(int script) {
  std::vector<int> out;
  for (int mpirun : ChildrenOf(script, "(mpirun)"))
    for (int rank : ChildrenOf(mpirun, "(whyrec)")) out.push_back(rank);
  return out;
}

TEST_F(RanksOfThisHost, AgreeWithOneAndSurviveKills) {
  ASSERT_EQ(Finish(Program("one", kRanksSettings)), 0) << Said();
  ASSERT_EQ(Finish(TwoRanks("two")), 0) << Said();
  const auto one = Losses("one"), two = Losses("two");
  ASSERT_EQ(one.size(), 60u);
  ASSERT_EQ(two.size(), one.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(two[i] / one[i], 1, 1e-5) << "step " << i + 1;
  EXPECT_EQ(WithoutWeights(folder_ / "two"), WithoutWeights(folder_ / "one"));
  EXPECT_EQ(WithoutWeights(folder_ / "two").count("embeddings/embeddings.safetensors"), 1u);

  setenv("WHYREC_RESTARTS", "0", 1);
  for (int signal : {SIGKILL, SIGUSR1}) {
    Process job(TwoRanks("ended"), folder_ / "out");
    ASSERT_TRUE(job.Until([&] { return Trains(); })) << Said();
    const auto ranks = RanksOf(job.pid());
    ASSERT_EQ(ranks.size(), 2u);
    kill(ranks[1], signal);
    const double before = job.seconds();
    EXPECT_EQ(job.Wait(30), signal == SIGKILL ? 128 + SIGKILL : 75) << Said();
    EXPECT_LT(job.seconds() - before, 10);
  }
  unsetenv("WHYREC_RESTARTS");
  {
    Process job(TwoRanks("ended"), folder_ / "out");
    ASSERT_TRUE(job.Until([&] { return RanksOf(job.pid()).size() == 2 && Trains(); })) << Said();
    kill(RanksOf(job.pid())[1], SIGKILL);
    ASSERT_EQ(job.Wait(60), 0) << Said();
    EXPECT_NE(Said().find("exit code 137): restart 1 of 3"), std::string::npos) << Said();
  }
  EXPECT_EQ(Contents(folder_ / "ended"), Contents(folder_ / "two"));
}

// Over MPI, and read again by the leased prediction.
TEST_F(RanksOfThisHost, DistributeANodeTable) {
  const Words settings = {"system[0].name=lightgcn", "system[1].name=markov", "train.steps=60",
                          "train.epoch_steps=20", "execution.threads=1"};
  Words rows = settings;
  rows.push_back("graphs.placement=ROWS");
  ASSERT_EQ(Finish(Program("one", settings)), 0) << Said();
  ASSERT_EQ(Finish(TwoRanks("two", rows)), 0) << Said();
  const auto one = Losses("one", "train.lightgcn"), two = Losses("two", "train.lightgcn");
  ASSERT_EQ(one.size(), 60u);
  ASSERT_EQ(two.size(), one.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(two[i] / one[i], 1, 1e-5) << "step " << i + 1;
  const auto facts = [&](const char* workspace) {
    return ReadFile(folder_ / workspace / "train.lightgcn/manifest.txtpb");
  };
  EXPECT_NE(facts("two").find("distributed over 2 ranks"), std::string::npos) << facts("two");
  EXPECT_NE(facts("one").find("on every rank"), std::string::npos) << facts("one");
  int tables = 0;
  for (const auto& [file, bytes] : Contents(folder_ / "one"))
    if (file.starts_with("metrics.lightgcn/")) {
      EXPECT_EQ(Contents(folder_ / "two").at(file), bytes) << file;
      ++tables;
    }
  EXPECT_GT(tables, 0);
}

TEST_F(RanksOfThisHost, RunBothProtocols) {
  const Words settings = {"protocol=BOTH", "system[0].name=popularity", "system[1].name=markov"};
  ASSERT_EQ(Finish(Program("one", settings)), 0) << Said();
  ASSERT_EQ(Finish(TwoRanks("two", settings)), 0) << Said();
  EXPECT_EQ(Contents(folder_ / "two"), Contents(folder_ / "one"));
  EXPECT_EQ(Contents(folder_ / "two").count("report/report.md"), 1u);
}

}  // namespace
}  // namespace whyrec
