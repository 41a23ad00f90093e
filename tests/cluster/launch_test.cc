// What ReadLaunch makes of the environments that launchers give: closed cases, values as Open
// MPI 4.1 and Slurm 22.05 set them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "cluster/communicator.h"

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

TEST_F(ReadLaunchTest, ConnectAloneNeedsNoMpi) { EXPECT_EQ(Connect(ReadLaunch())->size(), 1); }

}  // namespace
}  // namespace whyrec::cluster
