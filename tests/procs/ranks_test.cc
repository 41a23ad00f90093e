// launch/run.sh with two ranks on this host, against one rank.
#include <cctype>
#include <sstream>

#include "tests/procs/process.h"

namespace whyrec {
namespace {

const Words kSettings = {"system[0].name=isrf", "system[1].name=markov", "train.steps=60",
                         "train.dropout=0",     "train.epoch_steps=20",  "train.checkpoint_steps=1",
                         "execution.threads=1"};

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

  Words TwoRanks(const std::string& workspace) const {
    Words out = Arguments(workspace, kSettings);
    out.insert(out.begin(), {WHYREC_SOURCE_DIR "/launch/run.sh", "-n", "2"});
    return out;
  }

  // The losses of the training, in order.
  std::vector<double> Losses(const std::string& workspace) const {
    std::ifstream in(folder_ / workspace / "train.isrf/losses.csv");
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
    return file.first.find(".isrf/") != std::string::npos || file.first.starts_with("report/");
  });
  return out;
}

// Process ids of the ranks that mpirun started.
std::vector<int> RanksOf(int mpirun) {
  std::vector<int> out;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (!std::isdigit(entry.path().filename().string()[0])) continue;
    std::istringstream stat(ReadAll(entry.path() / "stat"));
    int pid = 0, parent = 0;
    std::string name, state;
    if (stat >> pid >> name >> state >> parent && parent == mpirun && name == "(whyrec)")
      out.push_back(pid);
  }
  return out;
}

TEST_F(RanksOfThisHost, AgreeWithOneAndSurviveKills) {
  ASSERT_EQ(Finish(Program("one", kSettings)), 0) << Said();
  ASSERT_EQ(Finish(TwoRanks("two")), 0) << Said();
  const auto one = Losses("one"), two = Losses("two");
  ASSERT_EQ(one.size(), 60u);
  ASSERT_EQ(two.size(), one.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(two[i] / one[i], 1, 1e-5) << "step " << i + 1;
  EXPECT_EQ(WithoutWeights(folder_ / "two"), WithoutWeights(folder_ / "one"));
  EXPECT_EQ(WithoutWeights(folder_ / "two").count("embeddings/embeddings.safetensors"), 1u);

  for (int signal : {SIGKILL, SIGUSR1}) {
    Process job(TwoRanks("ended"), folder_ / "out");
    const auto starts = [&] {
      return Said().find(" steps ") != std::string::npos && Checkpoints(folder_ / "ended") > 0;
    };
    ASSERT_TRUE(job.Until(starts)) << Said();
    const auto ranks = RanksOf(job.pid());
    ASSERT_EQ(ranks.size(), 2u);
    kill(ranks[1], signal);
    const double before = job.seconds();
    EXPECT_EQ(job.Wait(30), signal == SIGKILL ? 128 + SIGKILL : 75) << Said();
    EXPECT_LT(job.seconds() - before, 10);
  }
  ASSERT_EQ(Finish(TwoRanks("ended")), 0) << Said();
  EXPECT_EQ(Contents(folder_ / "ended"), Contents(folder_ / "two"));
}

}  // namespace
}  // namespace whyrec
