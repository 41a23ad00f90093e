// Work that is cut into fixed units before it is spread: rank r does the units i with i mod N = r,
// rank 0 merges in unit order. So an artefact has the same bytes for any number of ranks, and a run
// that was killed continues with the units it has.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "src/stages/stage.h"

namespace whyrec::stages {

// Calls work(begin, end, file) for this rank's units of 0..total that have no file yet; `file`
// counts once it is complete. Returns, after all ranks are done, the units' files in order. `what`
// and `unit_name` are for the progress line.
std::vector<std::filesystem::path> DoUnits(
    const RunContext& context, const std::filesystem::path& partial, const std::string& what,
    const std::string& unit_name, int64_t total, int64_t unit_size,
    const std::function<void(int64_t begin, int64_t end, const std::filesystem::path& file)>& work);

// Removes the units after the merge.
void DropUnits(const std::filesystem::path& partial);

}  // namespace whyrec::stages
