// Work in units that any process may do: leased, committed exactly once, kept in a journal
// (docs/leases.md). The same call for one process and for many; no MPI.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cluster/lease/lease_table.h"
#include "cluster/lease/worker.h"

namespace whyrec::cluster {

struct LeasedJob {
  std::string identity;          // fingerprint: equal identities mean equal results of every unit
  std::vector<int64_t> cost;     // of units 0..n-1, in tokens or whatever is proportional to time
  std::filesystem::path folder;  // of the journal; on several hosts a shared one
  std::string what = "work";     // for the progress line, with
  std::string unit_name = "units";
};

struct LeaseOptions {
  // Where workers may connect: "" no one can, this process works alone; "127.0.0.1" those of this
  // host; an address of this host, or "0.0.0.0", those of others. The port is the system's choice.
  std::string listen;
  bool work = true;             // this process works too
  double stop_grace = 10;       // seconds for workers to hand over their last units after a stop
  int64_t most_set_aside = -1;  // above it the work fails with Error(kData); -1: no limit
  LeaseRules rules;
  WorkerOptions worker;
};

struct SetAsideUnit {
  int64_t unit = 0;
  int attempts = 0;
  std::string why;
};

struct LeasedResult {
  int64_t done = 0, continued = 0;  // of these, done before this call
  std::vector<SetAsideUnit> set_aside;
};

// Called in unit order, once for each unit that is done, when all are done or set aside.
using ResultFunction = std::function<void(int64_t unit, const std::string& bytes)>;

// The coordinator. Writes into job.folder: journal, results larger than a message, and, when it
// listens, `token` (readable by the owner) and `address`. Call it again after a crash, a kill or an
// Error(kStoppedEarly) and it continues; when all is done it only delivers. Error(kData): the
// journal is of other work; too many units are set aside. Error(kCannotWrite): the disk refuses.
LeasedResult RunLeased(const LeasedJob& job, const UnitFunction& work, const LeaseOptions& options,
                       const ResultFunction& on_result);

struct JoinOptions {
  std::string address;   // host:port; "": the file in the job's folder
  std::string token;     // "": $WHYREC_LEASE_TOKEN, else the file in the job's folder
  double patience = 60;  // seconds without a coordinator before giving up
  WorkerOptions worker;
};

// A worker, in any process and at any moment; returns when the coordinator says that all is done.
// Only identity and folder of the job count. Errors as WorkOn.
void WorkLeased(const LeasedJob& job, const UnitFunction& work, const JoinOptions& options);

}  // namespace whyrec::cluster
