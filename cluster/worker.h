// A worker of leased work: asks for leases over a link, works at one unit after the other on the
// caller's thread, and says so. A second thread keeps the leases alive meanwhile.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "cluster/lease_client.h"
#include "cluster/link.h"

namespace whyrec::cluster {

// The bytes of a unit's result; a function of the unit alone, since a unit may be done twice. An
// exception is the unit's failure, except Error with kUsage, kUnavailable, kLaunch, kCannotWrite or
// kStoppedEarly: then this worker is unfit, and leaves with it.
using UnitFunction = std::function<std::string(int64_t unit)>;

struct WorkerOptions {
  std::filesystem::path folder;      // of result files; "": as the coordinator says
  size_t largest_message = 1 << 20;  // bytes of a result; larger ones go into files
  double stop_grace = 10;            // seconds for the last results to be answered
  std::function<bool()> stop;        // asked between units
};

// Until the coordinator says that the work has ended. Error(kLaunch) when it refuses this worker,
// fails, or stays away; Error(kStoppedEarly) when it or options.stop() says so, with everything
// that is done handed over.
void WorkOn(std::unique_ptr<Link> link, Introduction introduction, const UnitFunction& work,
            const WorkerOptions& options);

uint64_t DrawWorkerNumber();     // not 0
std::string NameOfThisWorker();  // host and process

}  // namespace whyrec::cluster
