// A worker of leased work: asks for leases over a link, works at one unit after the other on the
// caller's thread, and says so. A second thread keeps the leases alive meanwhile.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "cluster/lease/lease_client.h"
#include "cluster/lease/link.h"

namespace whyrec::cluster {

// What a long unit leaves behind before its end, so that a dead worker's successor goes on from
// there. Used from the thread that works at the unit, until that returns.
class UnitProgress {
 public:
  virtual ~UnitProgress() = default;
  // What an earlier try saved last; empty: nothing, begin anew.
  virtual const std::string& begun() const = 0;
  // Replaces what is saved; of no account once the unit has its result. Returns when the
  // coordinator has it on the disk, or sooner where little would be lost. Error(kStoppedEarly),
  // to be passed on, when this worker is to stop, or another one has done the unit.
  virtual void Save(std::string bytes) = 0;
};

// The bytes of a unit's result; a function of the unit alone, since a unit may be done twice or
// continued by another process. An exception is the unit's failure, except Error with kUsage,
// kUnavailable, kLaunch, kCannotWrite or kStoppedEarly: then this worker is unfit, and leaves with
// it. Short units ignore the progress: string(int64_t unit) will do.
class UnitFunction {
 public:
  using Full = std::function<std::string(int64_t unit, UnitProgress& progress)>;
  template <typename F>
  requires std::is_invocable_r_v<std::string, F&, int64_t, UnitProgress&> UnitFunction(F work)
      : work_(std::move(work)) {}
  template <typename F>
  requires std::is_invocable_r_v<std::string, F&, int64_t> UnitFunction(F work)
      : work_([work = std::move(work)](int64_t unit, UnitProgress&) { return work(unit); }) {}

  std::string operator()(int64_t unit, UnitProgress& progress) const {
    return work_(unit, progress);
  }

 private:
  Full work_;
};

struct WorkerOptions {
  std::filesystem::path folder;      // of result files; "": as the coordinator says
  size_t largest_message = 1 << 20;  // bytes of a result; larger ones go into files
  double worth_waiting = 0.1;        // a Save after fewer seconds of work waits for no answer
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
