// Commits per second of units without work: workers as processes, one coordinator, a journal on
// this disk. commit_bench [workers=2] [units=40000] [bytes=200]
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "cluster/lease/leased_work.h"
#include "src/base/log.h"
#include "tests/store/temporary.h"

namespace whyrec::cluster {
namespace {

int Bench(int workers, int64_t units, size_t bytes) {
  SetProgressMode(ProgressMode::kNone);
  const Temporary folder(std::filesystem::current_path());
  LeasedJob job{.identity = "bench", .folder = folder.path()};
  job.cost.assign(static_cast<size_t>(units), 1);
  const auto work = [&](int64_t unit) {
    return std::string(bytes, static_cast<char>('a' + unit % 26));
  };
  for (int i = 0; i < workers; ++i) {
    if (fork() != 0) continue;
    WorkLeased(job, work, {});
    _exit(0);
  }
  LeaseOptions options{.listen = "127.0.0.1", .work = workers == 0};
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  const LeasedResult result = RunLeased(job, work, options, [&](int64_t unit, const std::string&) {
    if (unit == 0)
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  });
  const double all =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  while (wait(nullptr) > 0) {
  }
  std::printf("%d workers, %lld units of %zu bytes: %.2f s, %.0f commits/s; delivery %.2f s\n",
              workers, static_cast<long long>(result.done), bytes, seconds,
              static_cast<double>(result.done) / seconds, all - seconds);
  return 0;
}

}  // namespace
}  // namespace whyrec::cluster

int main(int argc, char** argv) {
  return whyrec::cluster::Bench(argc > 1 ? std::atoi(argv[1]) : 2,
                                argc > 2 ? std::atoll(argv[2]) : 40'000,
                                argc > 3 ? static_cast<size_t>(std::atoll(argv[3])) : 200);
}
