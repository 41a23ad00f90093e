// One process of a leased job for procs_test.cc:
//   lease_node run|work FOLDER key=value...
// run: the coordinator, results to out=FILE. work: a worker. A unit takes micros=N for each of its
// levels=N, which it saves, and writes down in log=FILE; its result is a function of its number.
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <thread>

#include "cluster/lease/leased_work.h"
#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/stop.h"

namespace whyrec::cluster {
namespace {

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 3; i < argc; ++i) {
      const std::string word = argv[i];
      const size_t at = word.find('=');
      values_[word.substr(0, at)] = word.substr(at + 1);
    }
  }
  std::string Text(const std::string& key, const std::string& otherwise = "") const {
    const auto it = values_.find(key);
    return it == values_.end() ? otherwise : it->second;
  }
  int64_t Number(const std::string& key, int64_t otherwise) const {
    return std::stoll(Text(key, std::to_string(otherwise)));
  }

 private:
  std::map<std::string, std::string> values_;
};

void Log(const std::string& file, const std::string& line) {
  std::ofstream(file, std::ios::app) << line + "\n";  // one write: others append too
}

std::string Work(int64_t unit, UnitProgress& progress, const Arguments& arguments) {
  // "N TEXT": N levels are done, each of which changes the text.
  const std::string begun = progress.begun();
  int64_t done = begun.empty() ? 0 : std::stoll(begun);
  std::string levels = begun.substr(std::min(begun.size(), begun.find(' ') + 1));
  const int64_t count = arguments.Number("levels", 0);
  while (done < count) {
    std::this_thread::sleep_for(std::chrono::microseconds(arguments.Number("micros", 0)));
    levels = Sha256Of(Cat(levels, unit, "/", ++done));
    Log(arguments.Text("log"), Cat(unit, " ", done));
    if (done < count) progress.Save(Cat(done, " ", levels));
  }
  if (count > 0) return levels;
  std::this_thread::sleep_for(std::chrono::microseconds(arguments.Number("micros", 0)));
  if (unit == arguments.Number("poison", -1)) Fail(Exit::kData, "unit ", unit, " is poison");
  if (unit == arguments.Number("killer", -1)) std::raise(SIGKILL);
  std::string text = Sha256Of(Cat("unit ", unit));
  if (unit == arguments.Number("big", -1))
    while (text.size() < (3 << 20)) text += text;
  return text;
}

int Run(const std::string& what, const std::string& folder, const Arguments& arguments) {
  LeasedJob job{.identity = arguments.Text("identity", "a job"), .folder = folder};
  job.cost.assign(static_cast<size_t>(arguments.Number("units", 0)), 10);
  const auto work = [&](int64_t unit, UnitProgress& progress) {
    return Work(unit, progress, arguments);
  };
  if (what == "work") {
    WorkLeased(job, work,
               {.address = arguments.Text("address"),
                .token = arguments.Text("token"),
                .patience = static_cast<double>(arguments.Number("patience", 20)),
                .worker = {.worth_waiting = 0}});
    return 0;
  }
  if (const int64_t most = arguments.Number("disk", 0); most > 0) {  // as if it were full then
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {static_cast<rlim_t>(most), static_cast<rlim_t>(most)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  LeaseOptions options{.listen = arguments.Text("listen", "127.0.0.1"),
                       .work = arguments.Number("work", 0) != 0,
                       .stop_grace = 5};
  options.rules.ttl = arguments.Number("ttl_ms", 120'000) * 1000;
  options.rules.straggler_floor = arguments.Number("straggler_ms", 100) * 1000;
  options.rules.lease_seconds = static_cast<double>(arguments.Number("lease_ms", 500)) / 1000;
  std::ofstream out(arguments.Text("out", "/dev/null"), std::ios::binary);
  const LeasedResult result = RunLeased(
      job, work, options,
      [&](int64_t unit, const std::string& bytes) { out << unit << " " << bytes << "\n"; });
  std::printf("done %lld, continued %lld, set aside %zu\n", static_cast<long long>(result.done),
              static_cast<long long>(result.continued), result.set_aside.size());
  for (const auto& unit : result.set_aside)
    std::printf("unit %lld set aside after %d: %s\n", static_cast<long long>(unit.unit),
                unit.attempts, unit.why.c_str());
  return out.flush() ? 0 : 1;
}

}  // namespace
}  // namespace whyrec::cluster

int main(int argc, char** argv) try {
  if (argc < 3) return 2;
  whyrec::CatchStopSignals();
  return whyrec::cluster::Run(argv[1], argv[2], whyrec::cluster::Arguments(argc, argv));
} catch (const whyrec::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return static_cast<int>(e.code());
}
