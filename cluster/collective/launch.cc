// Reads rank, size and GPU from the environment that Open MPI and Slurm set. Inconsistent values
// are errors: N processes that each believe to be alone would overwrite each other's files.
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "cluster/collective/by_place.h"
#include "cluster/collective/communicator.h"

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
         ", which is impossible; start with launch/run.sh");
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

Launch ReadLocalLaunch() {
  if (Number("OMPI_COMM_WORLD_RANK")) return ReadLaunch();
  // In a batch script Slurm's variables describe the job; only in a step a task.
  const auto size = Number("SLURM_STEP_NUM_TASKS"), rank = Number("SLURM_PROCID"),
             node = Number("SLURM_NODEID"), local = Number("SLURM_LOCALID");
  const char* tasks = std::getenv("SLURM_STEP_TASKS_PER_NODE");
  if (!size || !rank || !node || !local || tasks == nullptr) return {};
  const Launch launch = {*rank, *size, *local, TasksOfNode(tasks, *node), "Slurm"};
  Check(launch);
  return launch;
}

int ChooseDevice(const Launch& launch, int visible) {
  if (visible == 1) return 0;  // the launcher chose
  if (visible < launch.local_size)
    Fail(Exit::kLaunch, "local rank ", launch.local_rank, " of ", launch.local_size, " sees ",
         visible, " devices; start one rank per device, or use execution.device=cpu");
  return launch.local_rank;
}

std::string DeviceName(const std::string& wanted, const Launch& launch, int visible,
                       const std::string& why_none) {
  if (wanted == "cpu") return wanted;
  const bool numbered = wanted.starts_with("cuda:");
  int number = -1;
  if (numbered) {
    const char* end = wanted.data() + wanted.size();
    const auto [at, error] = std::from_chars(wanted.data() + 5, end, number);
    if (error != std::errc() || at != end) number = -1;
  }
  if (wanted != "auto" && wanted != "cuda" && number < 0)
    Fail(Exit::kUsage, "device '", wanted, "' is not one of cpu, cuda, cuda:N, auto");
  if (wanted == "auto" && visible == 0) return "cpu";
  if (visible == 0) Fail(Exit::kLaunch, "device ", wanted, ": ", why_none);
  if (number >= visible)
    Fail(Exit::kLaunch, "device ", wanted, ": ", visible, " are visible, from cuda:0");
  return Cat("cuda:", numbered ? number : ChooseDevice(launch, visible));
}

std::unique_ptr<Communicator> Connect(const Launch& launch, const CommunicatorOptions& options) {
  if (launch.size == 1) return MakeSelf();
  std::unique_ptr<Communicator> mpi = MakeMpi(options);
  if (options.device == "cpu") return mpi;
  return WithNccl(std::move(mpi), launch, options);
}

}  // namespace whyrec::cluster
