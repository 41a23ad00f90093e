// Real ranks under mpirun: the conformance checks on Mpi, and how a job ends when a rank does.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/cluster/collective/conformance.h"
#include "tests/procs/command.h"

namespace whyrec {
namespace {

const std::string kRanks = WHYREC_BINARY_DIR "/cluster_ranks";

class Job : public testing::Test {
 protected:
  void SetUp() override {
    if (RunCommand("mpirun --version", 20).code != 0) GTEST_SKIP() << "mpirun is not installed";
    if (!std::filesystem::exists(WHYREC_BINARY_DIR "/libwhyrec_mpi.so")) {
      GTEST_SKIP() << "built without MPI: no libwhyrec_mpi.so";
    }
  }

  static Outcome Run(int ranks, const std::string& how) {
    return RunCommand(Cat("mpirun -n ", ranks,
                          " --allow-run-as-root --oversubscribe --bind-to none ", kRanks, " ", how),
                      120);
  }
};

TEST_F(Job, MpiConforms) {
  // Half of them in short messages: as a buffer of more bytes than an int counts is cut.
  for (int ranks : {1, 2, 3, 4, 5}) {
    const Outcome out = Run(ranks, ranks % 2 == 0 ? "mpi 4099" : "mpi");
    EXPECT_EQ(out.code, 0) << out.output;
    for (const auto& check : cluster::kConformance) {
      const std::string want = Cat(check.name, " holds on ", ranks, " ranks\n");
      EXPECT_NE(out.output.find(want), std::string::npos) << want << out.output;
    }
  }
}

void ExpectSaid(const Outcome& out, const std::string& what) {
  EXPECT_NE(out.output.find(what), std::string::npos) << what << "\n" << out.output;
}

// Through Connect, whose ranks look for devices: none here, or (stand-ins) two ranks on one.
TEST_F(Job, ConnectGoesWithoutDevicesUnlessAskedForThem) {
  const std::string fake = "-x LD_LIBRARY_PATH=" WHYREC_BINARY_DIR "/fake -x FAKE_DEVICES=1 ";
  const auto run = [&](const std::string& before, const std::string& device) {
    return RunCommand(Cat("mpirun -n 2 --allow-run-as-root --oversubscribe --bind-to none ", before,
                          kRanks, " joined ", device),
                      120);
  };
  Outcome out = run("-x WHYREC_NCCL=off ", "auto");
  EXPECT_EQ(out.code, 0) << out.output;
  EXPECT_EQ(out.output.find("warning"), std::string::npos) << out.output;
  out = run(fake, "auto");
  EXPECT_EQ(out.code, 0) << out.output;
  ExpectSaid(out, "BarrierSeparates holds on 2 ranks");
  ExpectSaid(out, "NCCL is not used: ranks 0 and 1 both use GPU-");
  out = run(fake, "cuda");
  EXPECT_EQ(out.code, 71) << out.output;
  ExpectSaid(out, "ranks 0 and 1 both use GPU-");
  out = run(fake, "cuda:1");
  EXPECT_EQ(out.code, 71) << out.output;
  ExpectSaid(out, "rank 0: device cuda:1: 1 are visible");
}

// The others are inside a barrier; the launcher ends them, and the job's code tells what happened.
void ExpectEnd(const Outcome& out, int code) {
  EXPECT_EQ(out.code, code) << out.output;
  EXPECT_LT(out.seconds, 10) << out.output;
  EXPECT_EQ(out.output.find("without the last rank"), std::string::npos) << out.output;
}

// Two seconds of patience: the others name the frozen rank and end it too.
TEST_F(Job, AStoppedRankIsNamedAndEndsTheJob) {
  const std::pair<std::string, std::string> kCases[] = {
      {"stop-barrier", "of 3 gives up Barrier, operation 2: rank 2 did not arrive within 2 s"},
      {"stop-broadcast",
       "of 3 gives up Broadcast of 4000 bytes from 2, operation 2: rank 2 did not arrive within 2 "
       "s"},
      {"stop-started",
       "of 3 gives up AllReduce(sum) of 1000 F32, operation 2: rank 2 did not arrive within 2 s"},
      {"stop-inside", "of 3 gives up AllReduce(sum) of 31457280 F32, operation 2: rank "},
  };
  for (const auto& [how, message] : kCases) {
    const Outcome out = Run(3, how);
    EXPECT_EQ(out.code, static_cast<int>(Exit::kLaunch)) << out.output;
    EXPECT_LT(out.seconds, 10) << how << out.output;
    EXPECT_EQ(out.output.find("rank 0 went on"), std::string::npos) << out.output;
    ExpectSaid(out, message);
  }
}

TEST_F(Job, RanksOutOfStepAreNamed) {
  const Outcome other = Run(3, "other-call");
  EXPECT_EQ(other.code, static_cast<int>(Exit::kLaunch)) << other.output;
  ExpectSaid(other, "rank 2 calls AllReduce(sum) of 1 F32");
  const Outcome early = Run(3, "ends-early");
  EXPECT_EQ(early.code, static_cast<int>(Exit::kLaunch)) << early.output;
  ExpectSaid(early, "calls the end of its work");
}

TEST_F(Job, WorkMayTakeLongerThanTheTimeOut) {
  const Outcome out = Run(2, "works");
  EXPECT_EQ(out.code, 0) << out.output;
  ExpectSaid(out, "the work is done");
}

TEST_F(Job, AKilledRankEndsTheJob) { ExpectEnd(Run(3, "kill"), 128 + SIGKILL); }

TEST_F(Job, AbortEndsTheJobWithItsCode) { ExpectEnd(Run(3, "abort"), 70); }

TEST_F(Job, AFailingRankEndsTheJobWithItsCode) {
  const Outcome out = Run(3, "throw");
  ExpectEnd(out, static_cast<int>(Exit::kData));
  EXPECT_NE(out.output.find("the last rank's own reason"), std::string::npos) << out.output;
}

TEST_F(Job, TheDoctorPassesSoundRanks) {
  const Outcome out = Run(2, "doctor " + testing::TempDir());
  EXPECT_EQ(out.code, 0) << out.output;
  ExpectSaid(out, "ok      ranks: 2 (Open MPI)");
  ExpectSaid(out, "ok      all-reduce: 1 MiB in ");
}

TEST_F(Job, TheDoctorFindsAFolderThatCannotBeShared) {
  const Outcome out = Run(2, "doctor /proc");
  EXPECT_EQ(out.code, static_cast<int>(Exit::kLaunch)) << out.output;
  ExpectSaid(out, "FAILED  shared folder: rank 0 cannot write to /proc; try: ");
}

// Stand-ins for the driver with one device: two ranks share it.
TEST_F(Job, TheDoctorNamesRanksThatShareAGpu) {
  const Outcome out =
      RunCommand("env LD_LIBRARY_PATH=" WHYREC_BINARY_DIR
                 "/fake FAKE_DEVICES=1 mpirun -n 2 --allow-run-as-root --oversubscribe "
                 "--bind-to none " +
                     kRanks + " doctor /tmp",
                 60);
  EXPECT_EQ(out.code, static_cast<int>(Exit::kLaunch)) << out.output;
  ExpectSaid(out, "FAILED  devices: ranks 0 and 1 both use GPU-0000");
}

const std::string kPretended =
    "env OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0 "
    "OMPI_COMM_WORLD_LOCAL_SIZE=2 ";

// As when the launcher belongs to another MPI: it announces two ranks, MPI finds one.
TEST_F(Job, WorldsOfOneAreRefused) {
  const Outcome out = RunCommand(kPretended + kRanks, 60);
  EXPECT_EQ(out.code, static_cast<int>(Exit::kLaunch)) << out.output;
  EXPECT_NE(out.output.find("Open MPI says rank 0 of 2 (local 0 of 2), MPI says rank 0 of 1"),
            std::string::npos)
      << out.output;
}

// A copy of the program where the module is not: several ranks are refused, one needs no MPI.
TEST(Module, IsNeededForSeveralRanksOnly) {
  if (!std::filesystem::exists(kRanks)) GTEST_SKIP() << "built without MPI: no cluster_ranks";
  const auto folder = std::filesystem::path(testing::TempDir()) / "no_module";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(kRanks, folder / "ranks",
                             std::filesystem::copy_options::overwrite_existing);
  const std::string lonely = (folder / "ranks").string();
  const Outcome several = RunCommand(kPretended + lonely, 60);
  EXPECT_EQ(several.code, static_cast<int>(Exit::kLaunch)) << several.output;
  EXPECT_NE(several.output.find("libwhyrec_mpi.so"), std::string::npos) << several.output;
  EXPECT_EQ(RunCommand(lonely, 60).code, 0);
}

}  // namespace
}  // namespace whyrec
