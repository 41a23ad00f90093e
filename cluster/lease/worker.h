// A lease worker: asks for leases over a link, works on one unit after another on the caller's
// thread and reports the results. A second thread sends heartbeats meanwhile.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "cluster/lease/client.h"
#include "cluster/lease/link.h"

namespace whyrec::cluster {

// Partial results of a long unit: if the worker dies, the next worker continues from the last one.
// Used from the thread that works on the unit, until the unit function returns.
class UnitProgress {
 public:
  virtual ~UnitProgress() = default;
  // What an earlier attempt saved last; empty: start from the beginning.
  virtual const std::string& begun() const = 0;
  // Replaces the saved partial result; it is dropped once the unit has its result. Returns when the
  // coordinator has written it to disk, or at once where little work would be lost.
  // Error(kStoppedEarly), which the unit function must pass on, when this worker has to stop or
  // another one has finished the unit.
  virtual void Save(std::string bytes) = 0;
};

// Returns the bytes of a unit's result. They must depend on the unit only, since a unit may be done
// twice or continued by another process. An exception counts as the unit's failure, except Error
// with kUsage, kUnavailable, kLaunch, kCannotWrite or kStoppedEarly: then the worker itself cannot
// work and ends with that error. Short units need no progress: string(int64_t unit) will do.
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

// Works until the coordinator says that the work is finished. Error(kLaunch) when the coordinator
// refuses this worker, fails, or cannot be reached; Error(kStoppedEarly) when it or options.stop()
// asks to stop, after handing in all finished results.
void WorkOn(std::unique_ptr<Link> link, Introduction introduction, const UnitFunction& work,
            const WorkerOptions& options);

uint64_t DrawWorkerNumber();     // not 0
std::string NameOfThisWorker();  // host and process

}  // namespace whyrec::cluster
