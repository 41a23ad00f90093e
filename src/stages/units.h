// Work that is divided into fixed units, whatever the number of workers: units are leased to
// workers, and rank 0 merges their results in unit order. So an artefact has the same bytes for any
// number of workers, and a killed run keeps the units it has finished (docs/leases.md).
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

// `work` returns the bytes for items [begin, end), which must depend on these items only; `merge`
// receives all units' bytes in order. Returns true on rank 0, after merging everything; false on
// other ranks and in processes that joined, when there is no more work for them. No rank calls MPI
// while units are leased. Error(kStoppedEarly) after a stop signal on any rank; Error(kData) when a
// unit keeps failing.
bool DoUnits(const RunContext& context, const std::filesystem::path& partial, const UnitPlan& plan,
             const std::function<std::string(int64_t begin, int64_t end)>& work,
             const std::function<void(const std::string& bytes)>& merge);

// For units that take minutes: `work` saves partial results (the finished levels of a tree), and
// finds in progress.begun() what an interrupted earlier attempt saved last.
using cluster::UnitProgress;
bool DoUnits(const RunContext& context, const std::filesystem::path& partial, const UnitPlan& plan,
             const std::function<std::string(int64_t begin, int64_t end, UnitProgress&)>& work,
             const std::function<void(const std::string& bytes)>& merge);

// Where a stage keeps its lease journal until the artefact is committed. The name begins with '.',
// so it never becomes part of the artefact.
std::filesystem::path LeaseFolder(const std::filesystem::path& partial);

}  // namespace whyrec::stages
