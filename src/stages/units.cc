#include "src/stages/units.h"

#include <cstdio>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/stop.h"

namespace whyrec::stages {
namespace fs = std::filesystem;

namespace {

fs::path UnitFolder(const fs::path& partial) { return partial / ".units"; }  // '.': never committed

}  // namespace

std::vector<fs::path> DoUnits(const RunContext& context, const fs::path& partial,
                              const std::string& what, const std::string& unit_name, int64_t total,
                              int64_t unit_size,
                              const std::function<void(int64_t, int64_t, const fs::path&)>& work) {
  fs::create_directories(UnitFolder(partial));
  std::vector<fs::path> files;
  Progress progress(what, total, unit_name);
  for (int64_t begin = 0; begin < total; begin += unit_size) {
    const auto unit = static_cast<int64_t>(files.size());
    const int64_t end = std::min(total, begin + unit_size);
    char name[32];
    std::snprintf(name, sizeof name, "%08lld", static_cast<long long>(unit));
    files.push_back(UnitFolder(partial) / name);
    const bool mine = unit % context.comm.size() == context.comm.rank();
    if (mine && !fs::exists(files.back()) && !StopRequested()) {
      fs::path unfinished = files.back();
      unfinished += ".tmp";
      work(begin, end, unfinished);
      fs::rename(unfinished, files.back());
    }
    progress.Advance(end - begin);
  }
  context.comm.Barrier(cluster::Waiting::kForWork);  // units differ in length
  int64_t stop = StopRequested();
  context.comm.AllReduce(&stop, 1, DType::kI64, cluster::Reduce::kMax);
  if (stop)
    Fail(Exit::kStoppedEarly,
         "stopped by a signal; finished units are kept: run the same command again");
  return files;
}

void DropUnits(const fs::path& partial) { fs::remove_all(UnitFolder(partial)); }

}  // namespace whyrec::stages
