// Work divided into units that any process can do: units are leased to workers, committed exactly
// once and recorded in a journal (docs/leases.md). The same call serves one process and many; no
// MPI.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cluster/lease/table.h"
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
  // The address to listen on. "": none, this process works alone; "127.0.0.1": workers on this host
  // can connect; an address of this host, or "0.0.0.0": workers on other hosts too. The system
  // chooses the port.
  std::string listen;
  bool work = true;             // this process works too
  double stop_grace = 10;       // seconds for workers to hand in their last results after a stop
  int64_t most_set_aside = -1;  // more failed units than this: Error(kData); -1: no limit
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

// Called once per finished unit, in unit order, when all units are done or set aside.
using ResultFunction = std::function<void(int64_t unit, const std::string& bytes)>;

// Runs the coordinator. Writes into job.folder: the journal, results larger than a message, and,
// when it listens, `token` (readable by the owner only) and `address`. Called again after a crash,
// a kill or an Error(kStoppedEarly), it continues; when everything is done, it only delivers the
// results. Error(kData): the journal belongs to other work, or too many units are set aside.
// Error(kCannotWrite): writing failed.
LeasedResult RunLeased(const LeasedJob& job, const UnitFunction& work, const LeaseOptions& options,
                       const ResultFunction& on_result);

struct JoinOptions {
  std::string address;   // host:port; "": the file in the job's folder
  std::string token;     // "": $WHYREC_LEASE_TOKEN, else the file in the job's folder
  double patience = 60;  // seconds without a coordinator before giving up
  WorkerOptions worker;
};

// Runs a worker, in any process and at any time; returns when the coordinator says that the work is
// finished. Of the job, only identity and folder are used. Errors as WorkOn.
void WorkLeased(const LeasedJob& job, const UnitFunction& work, const JoinOptions& options);

}  // namespace whyrec::cluster
