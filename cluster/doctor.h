// Checks of the machine and the job before work starts: launcher, MPI, ranks and hosts, devices,
// versions, network, variables, the shared folder, and a first all-reduce.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {

struct Finding {
  bool ok = true;
  std::string what;   // "shared folder: /data/runs: rank 1 on node2 does not see what rank 0 wrote"
  std::string to_do;  // the line to try; failures have one
};

// "ok      ranks: 2 on 1 host" or "FAILED  shared folder: ...; try: ...".
std::string Print(const Finding& finding);

// What one rank found out, by name; see Examine.
using RankInfo = std::map<std::string, std::string>;

// host, program, launcher, local_rank, local_size, cores, shm_bytes, network; with `devices` also
// mpi, driver, cuda, devices, device (the number this rank takes), device_name, uuid, nccl and for
// each of mpi, devices, device and nccl, where it is missing, <name>.why; set.<variable>.
RankInfo Examine(const Launch& launch, bool devices);

// The findings that follow from what all ranks know.
std::vector<Finding> Diagnose(const std::vector<RankInfo>& ranks);

// Everybody reads what rank 0 writes into `folder`.
Finding CheckSharedFolder(Communicator& comm, const std::filesystem::path& folder);

// The cheap checks, for the start of a run on several ranks: the same program on every rank, a
// folder that all can see, one all-reduce. Error(kLaunch) with the first failure, the same on all
// ranks. Does nothing with one rank.
void CheckRanks(Communicator& comm, const Launch& launch, const std::filesystem::path& folder);

struct DoctorOptions {
  std::filesystem::path folder = ".";  // where runs are to be written
  double seconds = 20;                 // longest wait for a rank
};

// All checks, printed by rank 0; the exit code, the same on every rank: 0, or 71 when one failed.
int Doctor(const DoctorOptions& options, std::ostream& out);

}  // namespace whyrec::cluster
