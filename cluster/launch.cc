#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "cluster/communicator.h"

namespace whyrec::cluster {
namespace {

// The variable's value; nothing when it is not set.
std::optional<int> Number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  const char* end = text + std::strlen(text);
  int value = 0;
  const auto [at, error] = std::from_chars(text, end, value);
  if (error != std::errc() || at != end || value < 0) {
    Fail(Exit::kLaunch, name, " is '", text, "', not a number; start with launch/run.sh");
  }
  return value;
}

// Variables that a launcher always sets together.
int Need(const char* name, const char* because) {
  const auto value = Number(name);
  if (!value)
    Fail(Exit::kLaunch, because, " is set but ", name, " is not; start with launch/run.sh");
  return *value;
}

// Tasks on node `node` of Slurm's list "2(x3),1": three nodes with two tasks, then one with one.
int TasksOfNode(const char* list, int node) {
  for (const char* at = list; *at != '\0';) {
    char* end = nullptr;
    const long tasks = std::strtol(at, &end, 10);
    if (end == at) break;
    long nodes = 1;
    if (std::strncmp(end, "(x", 2) == 0) nodes = std::strtol(end + 2, &end, 10);
    node -= static_cast<int>(nodes);
    if (node < 0) return static_cast<int>(tasks);
    at = end + std::strspn(end, "),");
  }
  Fail(Exit::kLaunch, "Slurm's tasks per node '", list, "' do not name this node");
}

void Check(const Launch& launch) {
  if (launch.size < 1 || launch.rank >= launch.size || launch.local_size < 1 ||
      launch.local_rank >= launch.local_size || launch.local_size > launch.size) {
    Fail(Exit::kLaunch, launch.source, " says rank ", launch.rank, " of ", launch.size,
         " and local rank ", launch.local_rank, " of ", launch.local_size,
         ", which cannot be; start with launch/run.sh");
  }
}

}  // namespace

Launch ReadLaunch() {
  Launch launch;
  // Under mpirun inside a Slurm job the SLURM_ variables describe mpirun's daemons.
  if (const auto rank = Number("OMPI_COMM_WORLD_RANK")) {
    launch = {*rank, Need("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
              Need("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK"),
              Need("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_RANK"), "Open MPI"};
  } else if (const auto rank = Number("PMIX_RANK");
             rank && std::getenv("SLURM_NTASKS") != nullptr) {
    const char* tasks = std::getenv("SLURM_STEP_TASKS_PER_NODE");
    if (tasks == nullptr) tasks = std::getenv("SLURM_TASKS_PER_NODE");
    if (tasks == nullptr) tasks = "";
    launch = {*rank, Need("SLURM_NTASKS", "PMIX_RANK"), Need("SLURM_LOCALID", "PMIX_RANK"),
              TasksOfNode(tasks, Need("SLURM_NODEID", "PMIX_RANK")), "Slurm"};
  } else {
    // A launcher that we do not read would make N programs that each believe to be alone.
    for (const char* other : {"SLURM_STEP_NUM_TASKS", "PMI_SIZE", "WORLD_SIZE"}) {
      if (const auto n = Number(other); n && *n > 1) {
        Fail(Exit::kLaunch, other, " says ", *n,
             " ranks, but neither Open MPI nor Slurm's PMIx started this one; use mpirun, or srun "
             "--mpi=pmix (launch/run.sh does), or unset ",
             other);
      }
    }
  }
  Check(launch);
  return launch;
}

int ChooseDevice(const Launch& launch, int visible) {
  if (visible == 1) return 0;  // the launcher chose
  if (visible < launch.local_size)
    Fail(Exit::kLaunch, "local rank ", launch.local_rank, " of ", launch.local_size, " sees ",
         visible, " devices; start one rank per device");
  return launch.local_rank;
}

std::unique_ptr<Communicator> Connect(const Launch& launch, const Options& options) {
  return launch.size > 1 ? MakeMpi(options) : MakeSelf();
}

}  // namespace whyrec::cluster
