#include "src/stages/units.h"

#include <algorithm>

#include "cluster/lease/leased_work.h"
#include "src/base/error.h"
#include "src/base/stop.h"

namespace whyrec::stages {
namespace fs = std::filesystem;
namespace {

constexpr double kOtherRanksWait = 3600;  // rank 0 may load a large model first

cluster::LeasedJob JobOf(const RunContext& context, const fs::path& partial, const UnitPlan& plan) {
  cluster::LeasedJob job{.identity = context.fingerprint,
                         .cost = {},
                         .folder = LeaseFolder(partial),
                         .what = plan.what,
                         .unit_name = Cat("units of ", plan.unit_size, " ", plan.items)};
  for (int64_t begin = 0; begin < plan.total; begin += plan.unit_size)
    job.cost.push_back(std::min(plan.unit_size, plan.total - begin));
  return job;
}

cluster::LeaseOptions OptionsOf(const RunContext& context) {
  cluster::LeaseOptions options{.listen = context.leasing.listen, .most_set_aside = 0};
  if (options.listen.empty() && context.comm.size() > 1) options.listen = "127.0.0.1";
  // With a single worker nobody else could retry a failed unit.
  if (options.listen.empty()) options.rules.workers = 1;
  return options;
}

void Lead(const RunContext& context, const cluster::LeasedJob& job,
          const cluster::UnitFunction& work, const std::function<void(const std::string&)>& merge) {
  try {
    cluster::RunLeased(job, work, OptionsOf(context),
                       [&](int64_t, const std::string& bytes) { merge(bytes); });
  } catch (const Error& error) {
    if (error.code() != Exit::kData) throw;
    Fail(Exit::kData, error.what(), "; to try again what failed, remove ", job.folder.string());
  }
}

// Works until the stage is over. The lease folder is removed before the artefact is committed,
// which tells a worker that has lost its connection that the coordinator has finished.
void Help(const cluster::LeasedJob& job, const cluster::UnitFunction& unit,
          const Leasing& leasing) {
  cluster::JoinOptions options{.address = leasing.address, .patience = leasing.patience};
  options.worker.stop = [&] {
    std::error_code unreachable;
    return StopRequested() || (!fs::exists(job.folder, unreachable) && !unreachable);
  };
  try {
    cluster::WorkLeased(job, unit, options);
  } catch (const Error& error) {
    if (error.code() != Exit::kStoppedEarly || StopRequested()) throw;
  }
}

// Works on this rank's share; true when stopped by a signal.
bool Stopped(const std::function<void()>& part) {
  try {
    part();
  } catch (const Error& error) {
    if (error.code() != Exit::kStoppedEarly) throw;
    return true;
  }
  return StopRequested();
}

}  // namespace

fs::path LeaseFolder(const fs::path& partial) { return partial / ".leases"; }

bool DoUnits(const RunContext& context, const fs::path& partial, const UnitPlan& plan,
             const std::function<std::string(int64_t, int64_t)>& work,
             const std::function<void(const std::string&)>& merge) {
  return DoUnits(
      context, partial, plan,
      [&](int64_t begin, int64_t end, UnitProgress&) { return work(begin, end); }, merge);
}

bool DoUnits(const RunContext& context, const fs::path& partial, const UnitPlan& plan,
             const std::function<std::string(int64_t, int64_t, UnitProgress&)>& work,
             const std::function<void(const std::string&)>& merge) {
  const cluster::LeasedJob job = JobOf(context, partial, plan);
  const cluster::UnitFunction unit = [&](int64_t i, UnitProgress& progress) {
    const int64_t begin = i * plan.unit_size;
    return work(begin, std::min(plan.total, begin + plan.unit_size), progress);
  };
  const Leasing& leasing = context.leasing;
  if (leasing.join) {
    Help(job, unit, leasing);
    return false;
  }
  const bool root = context.comm.rank() == 0;
  int64_t stop = Stopped([&] {
    root ? Lead(context, job, unit, merge)
         : cluster::WorkLeased(job, unit, {.patience = kOtherRanksWait});
  });
  context.comm.Barrier(cluster::Waiting::kForWork);
  context.comm.AllReduce(&stop, 1, DType::kI64, cluster::Reduce::kMax);
  if (stop)
    Fail(Exit::kStoppedEarly,
         "stopped by a signal; finished units are kept: run the same command again");
  return root;
}

}  // namespace whyrec::stages
