// What ReadLaunch makes of the environments that launchers give: closed cases, values as Open
// MPI 4.1 and Slurm 22.05 set them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {
namespace {

using Environment = std::map<std::string, std::string>;

class ReadLaunchTest : public testing::Test {
 protected:
  ReadLaunchTest() {
    for (const char* name : kRead) {
      if (const char* value = std::getenv(name)) before_[name] = value;
    }
    Set({});
  }
  ~ReadLaunchTest() override { Set(before_); }

  void Set(const Environment& environment) {
    for (const char* name : kRead) unsetenv(name);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  }

  void Expect(const Environment& environment, const Launch& want) {
    Set(environment);
    const Launch got = ReadLaunch();
    EXPECT_EQ(got.rank, want.rank);
    EXPECT_EQ(got.size, want.size);
    EXPECT_EQ(got.local_rank, want.local_rank);
    EXPECT_EQ(got.local_size, want.local_size);
    EXPECT_EQ(got.source, want.source);
  }

  void ExpectError(const Environment& environment, const std::string& part) {
    Set(environment);
    try {
      ReadLaunch();
      ADD_FAILURE() << "accepted; expected: " << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kLaunch);
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  }

 private:
  static constexpr const char* kRead[] = {"OMPI_COMM_WORLD_RANK",
                                          "OMPI_COMM_WORLD_SIZE",
                                          "OMPI_COMM_WORLD_LOCAL_RANK",
                                          "OMPI_COMM_WORLD_LOCAL_SIZE",
                                          "PMIX_RANK",
                                          "PMI_SIZE",
                                          "WORLD_SIZE",
                                          "SLURM_NTASKS",
                                          "SLURM_STEP_NUM_TASKS",
                                          "SLURM_LOCALID",
                                          "SLURM_PROCID",
                                          "SLURM_NODEID",
                                          "SLURM_STEP_TASKS_PER_NODE",
                                          "SLURM_TASKS_PER_NODE"};
  Environment before_;
};

const Environment kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "5"},
                              {"OMPI_COMM_WORLD_SIZE", "8"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
const Environment kSlurm = {{"PMIX_RANK", "6"},
                            {"SLURM_NTASKS", "7"},
                            {"SLURM_LOCALID", "0"},
                            {"SLURM_NODEID", "3"},
                            {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
                            {"SLURM_STEP_NUM_TASKS", "7"}};

Environment With(Environment base, const Environment& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

TEST_F(ReadLaunchTest, NobodyMeansAlone) { Expect({}, Launch{}); }

TEST_F(ReadLaunchTest, ReadsOpenMpi) { Expect(kOpenMpi, {5, 8, 1, 4, "Open MPI"}); }

TEST_F(ReadLaunchTest, ReadsSlurm) {
  Expect(kSlurm, {6, 7, 0, 1, "Slurm"});
  Expect(With(kSlurm, {{"PMIX_RANK", "3"}, {"SLURM_NODEID", "1"}, {"SLURM_LOCALID", "1"}}),
         {3, 7, 1, 2, "Slurm"});
}

// Under mpirun inside a Slurm job, SLURM_ says what mpirun's daemons are: one task on each node.
TEST_F(ReadLaunchTest, OpenMpiWinsOverSlurm) {
  Expect(With(With(kSlurm, kOpenMpi), {{"SLURM_NTASKS", "2"}, {"SLURM_STEP_NUM_TASKS", "2"}}),
         {5, 8, 1, 4, "Open MPI"});
}

// A batch script's own shell has the job's SLURM_NTASKS but is no task of a step.
TEST_F(ReadLaunchTest, ABatchShellIsAlone) {
  Expect({{"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "0"}}, Launch{});
}

TEST_F(ReadLaunchTest, WorldsOfOneAreRefused) {
  ExpectError({{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_NTASKS", "4"}}, "srun --mpi=pmix");
  ExpectError({{"WORLD_SIZE", "2"}}, "WORLD_SIZE says 2 ranks");
  ExpectError({{"PMI_SIZE", "2"}}, "PMI_SIZE says 2 ranks");
  Expect({{"WORLD_SIZE", "1"}}, Launch{});
}

TEST_F(ReadLaunchTest, NonsenseIsRefused) {
  ExpectError(With(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "x"}}), "OMPI_COMM_WORLD_RANK is 'x'");
  ExpectError(With(kOpenMpi, {{"OMPI_COMM_WORLD_SIZE", "-3"}}), "OMPI_COMM_WORLD_SIZE is '-3'");
  ExpectError(With(kOpenMpi, {{"OMPI_COMM_WORLD_SIZE", "5"}}), "rank 5 of 5");
  ExpectError({{"OMPI_COMM_WORLD_RANK", "0"}}, "OMPI_COMM_WORLD_SIZE is not");
  ExpectError(With(kSlurm, {{"SLURM_NODEID", "4"}}), "'2(x3),1' do not name this node");
}

// Workers of leased work are tasks of srun --mpi=none, or of an mpirun whose MPI they never call.
TEST_F(ReadLaunchTest, ReadsTheLocalRankOfSingleProcesses) {
  const auto expect = [&](const Environment& environment, int local_rank, int local_size) {
    Set(environment);
    const Launch got = ReadLocalLaunch();
    EXPECT_EQ(got.local_rank, local_rank);
    EXPECT_EQ(got.local_size, local_size);
  };
  expect({}, 0, 1);
  expect({{"WORLD_SIZE", "2"}}, 0, 1);
  expect(kOpenMpi, 1, 4);
  const Environment step = {{"SLURM_STEP_NUM_TASKS", "7"},
                            {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
                            {"SLURM_NODEID", "1"},
                            {"SLURM_LOCALID", "1"},
                            {"SLURM_PROCID", "3"}};
  expect(step, 1, 2);
  expect(With(step, {{"SLURM_NODEID", "3"}, {"SLURM_LOCALID", "0"}, {"SLURM_PROCID", "6"}}), 0, 1);
  expect({{"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "0"}}, 0, 1);
}

TEST(DeviceName, FollowsTheRequestTheRankAndWhatIsVisible) {
  const Launch alone, third = {.rank = 6, .size = 8, .local_rank = 2, .local_size = 4};
  struct Case {
    const char* wanted;
    Launch launch;
    int visible;
    const char* want;  // or what the error says
    Exit code = Exit::kOk;
  };
  const Case cases[] = {
      {"cpu", alone, 0, "cpu"},
      {"cpu", third, 4, "cpu"},
      {"auto", alone, 0, "cpu"},
      {"auto", third, 0, "cpu"},
      {"auto", alone, 1, "cuda:0"},
      {"auto", alone, 4, "cuda:0"},
      {"auto", third, 4, "cuda:2"},
      {"auto", third, 8, "cuda:2"},
      {"auto", third, 1, "cuda:0"},  // srun --gpus-per-task=1: CUDA_VISIBLE_DEVICES shows one
      {"auto", third, 3, "local rank 2 of 4 sees 3 devices", Exit::kLaunch},
      {"cuda", alone, 0, "device cuda: no driver", Exit::kLaunch},
      {"cuda", third, 4, "cuda:2"},
      {"cuda", third, 1, "cuda:0"},
      {"cuda", third, 2, "start one rank per device", Exit::kLaunch},
      {"cuda:0", third, 0, "device cuda:0: no driver", Exit::kLaunch},
      {"cuda:3", alone, 4, "cuda:3"},
      {"cuda:3", third, 4, "cuda:3"},  // as asked
      {"cuda:12", alone, 16, "cuda:12"},
      {"cuda:4", alone, 4, "device cuda:4: 4 are visible", Exit::kLaunch},
      {"gpu", alone, 4, "device 'gpu' is not one of", Exit::kUsage},
      {"gpu", alone, 0, "device 'gpu' is not one of", Exit::kUsage},
      {"", alone, 4, "device '' is not one of", Exit::kUsage},
      {"cuda:", alone, 4, "device 'cuda:' is not one of", Exit::kUsage},
      {"cuda:x", alone, 4, "device 'cuda:x' is not one of", Exit::kUsage},
      {"cuda:1x", alone, 4, "device 'cuda:1x' is not one of", Exit::kUsage},
      {"cuda:-1", alone, 4, "device 'cuda:-1' is not one of", Exit::kUsage},
      {"cuda0", alone, 4, "device 'cuda0' is not one of", Exit::kUsage},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(Cat(c.wanted, " at local rank ", c.launch.local_rank, " of ", c.visible));
    try {
      EXPECT_EQ(DeviceName(c.wanted, c.launch, c.visible, "no driver"), c.want);
      EXPECT_EQ(c.code, Exit::kOk);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), c.code) << e.what();
      EXPECT_NE(std::string(e.what()).find(c.want), std::string::npos) << e.what();
    }
  }
}

TEST_F(ReadLaunchTest, ConnectAloneNeedsNoMpi) { EXPECT_EQ(Connect(ReadLaunch())->size(), 1); }

}  // namespace
}  // namespace whyrec::cluster
