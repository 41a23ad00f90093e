// Work that is cut into fixed units before it is spread: the units are leased to whoever works, and
// rank 0 merges their results in unit order. So an artefact has the same bytes for any number of
// workers, and a run that was killed continues with the units it has (docs/leases.md).
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "cluster/lease/worker.h"
#include "src/stages/stage.h"

namespace whyrec::stages {

struct UnitPlan {
  std::string what, items;  // for the progress line
  int64_t total = 0, unit_size = 1;
};

// `work` gives the bytes of the items begin..end, a function of these alone; `merge` takes the
// units' bytes in order. True where they were merged: on rank 0, when all is done. On other ranks
// and in processes that joined: false, when this one's work has ended. No rank calls MPI while
// units are leased. Error(kStoppedEarly) after a stop signal on any rank; Error(kData) when a unit
// fails again and again.
bool DoUnits(const RunContext& context, const std::filesystem::path& partial, const UnitPlan& plan,
             const std::function<std::string(int64_t begin, int64_t end)>& work,
             const std::function<void(const std::string& bytes)>& merge);

// For units of minutes: `work` saves what it has (the finished levels of a tree) and, where an
// earlier try of the unit was cut off, finds in progress.begun() what that one saved last.
using cluster::UnitProgress;
bool DoUnits(const RunContext& context, const std::filesystem::path& partial, const UnitPlan& plan,
             const std::function<std::string(int64_t begin, int64_t end, UnitProgress&)>& work,
             const std::function<void(const std::string& bytes)>& merge);

// Where a stage keeps its leases, until its artefact is committed; '.': never committed.
std::filesystem::path LeaseFolder(const std::filesystem::path& partial);

}  // namespace whyrec::stages
