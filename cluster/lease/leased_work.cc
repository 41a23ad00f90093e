#include "cluster/lease/leased_work.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <thread>

#include "cluster/lease/coordinator.h"
#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/stop.h"
#include "src/base/text_file.h"

namespace whyrec::cluster {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

fs::path JournalOf(const fs::path& folder) { return folder / "journal"; }
fs::path TokenOf(const fs::path& folder) { return folder / "token"; }
fs::path AddressOf(const fs::path& folder) { return folder / "address"; }

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string RandomToken() {
  std::random_device device;
  std::string out;
  for (int i = 0; i < 64; ++i) out += "0123456789abcdef"[device() & 15];
  return out;
}

// The run's token. A restarted coordinator takes the former one: its workers may still be there.
std::string CoordinatorToken(const fs::path& folder) {
  if (const char* given = std::getenv("WHYREC_LEASE_TOKEN"); given != nullptr && *given != '\0')
    return given;
  std::string token = FirstLine(ReadFileIfAny(TokenOf(folder)));
  if (token.empty()) {
    token = RandomToken();
    WriteDurably(TokenOf(folder), token + "\n", /*secret=*/true);
  }
  return token;
}

std::string HostToWrite(const std::string& listen) {
  if (listen != "0.0.0.0" && listen != "::") return listen;
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  return host;
}

WorkerOptions StoppedBySignals(WorkerOptions options) {
  if (!options.stop) options.stop = StopRequested;
  return options;
}

template <typename Condition>
bool WaitFor(double seconds, Condition condition) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

class Run {
 public:
  Run(const LeasedJob& job, const LeaseOptions& options)
      : job_(job),
        options_(options),
        token_(CreateFolder()),
        service_({.job = job.identity,
                  .cost = job.cost,
                  .token = token_,
                  .folder = fs::absolute(job.folder),
                  .rules = options.rules},
                 OpenJournalFile(JournalOf(job.folder))) {
    result_.continued = service_.table().done();
    if (service_.torn_bytes() > 0)
      Info(Cat("journal: ", service_.torn_bytes(),
               " bytes of an incomplete record at its end were cut off"));
  }

  void Work(const UnitFunction& work) {
    if (service_.finished()) return SayFinished();
    Progress progress(job_.what, service_.table().size(), job_.unit_name);
    progress.Resume(service_.table().done() + service_.table().set_aside());
    int64_t shown = service_.table().done() + service_.table().set_aside();
    Coordinator coordinator(service_,
                            {.listen = options_.listen, .progress = [&](const LeaseTable& table) {
                               const int64_t now = table.done() + table.set_aside();
                               if (now > shown) progress.Advance(now - shown, Note(table));
                               shown = std::max(shown, now);
                             }});
    if (!options_.listen.empty())
      WriteDurably(AddressOf(job_.folder),
                   Cat(HostToWrite(options_.listen), ":", coordinator.port(), "\n"));
    try {
      Attend(coordinator, work);
    } catch (const Error& error) {
      const bool stopped = error.code() == Exit::kStoppedEarly;
      coordinator.Drain(stopped ? wire::End::STOPPED : wire::End::FAILED);
      try {  // what has failed is `error`, whatever the coordinator adds
        WaitFor(stopped ? options_.stop_grace : 0.5,
                [&] { return coordinator.Finished() || coordinator.sessions() == 0; });
      } catch (const std::exception&) {
      }
      coordinator.Stop(0.2);
      throw;
    }
    SayFinished();
    coordinator.Stop(1);
  }

  LeasedResult Deliver(const ResultFunction& on_result) {
    const LeaseTable& table = service_.table();
    for (int64_t unit = 0; unit < table.size(); ++unit) {
      if (table.state(unit) == LeaseTable::State::kDone) {
        if (on_result) on_result(unit, service_.Result(unit));
        ++result_.done;
        continue;
      }
      const auto& trouble = table.failures().at(unit);
      result_.set_aside.push_back({unit, trouble.attempts, trouble.why});
    }
    return result_;
  }

  void CheckSetAside() const {
    const LeaseTable& table = service_.table();
    if (options_.most_set_aside < 0 || table.set_aside() <= options_.most_set_aside) return;
    for (const auto& [unit, trouble] : table.failures())
      if (table.state(unit) == LeaseTable::State::kSetAside)
        Fail(Exit::kData, table.set_aside(), " ", job_.unit_name, " failed, ",
             options_.most_set_aside, " may; the first is unit ", unit, ", ", trouble.attempts,
             " attempts: ", trouble.why);
  }

  // Files of attempts that came too late, and of what was saved on the way.
  void RemoveStrays() {
    for (const auto& entry : fs::directory_iterator(job_.folder)) {
      const std::string name = entry.path().filename();
      long long unit = -1;
      if (std::sscanf(name.c_str(), "result-%lld-", &unit) != 1 &&
          std::sscanf(name.c_str(), "partial-%lld-", &unit) != 1)
        continue;
      const bool known = unit >= 0 && unit < service_.table().size() &&
                         service_.table().state(unit) == LeaseTable::State::kDone &&
                         service_.ResultFileOf(unit) == name;
      std::error_code gone;
      if (!known) fs::remove(entry.path(), gone);
    }
  }

 private:
  std::string CreateFolder() const {
    std::error_code refused;
    fs::create_directories(job_.folder, refused);
    if (refused)
      Fail(Exit::kCannotWrite, job_.folder.string(), ": cannot be created: ", refused.message());
    return options_.listen.empty() ? "of this process" : CoordinatorToken(job_.folder);
  }

  // For workers that ask for the coordinator's address from now on.
  void SayFinished() const {
    if (!options_.listen.empty()) WriteDurably(AddressOf(job_.folder), "finished\n");
  }

  // For its own worker: a process that ends takes both along.
  static WorkerOptions WithoutWaiting(WorkerOptions options) {
    options.worth_waiting = std::numeric_limits<double>::infinity();
    return options;
  }

  static std::string Note(const LeaseTable& table) {
    return table.set_aside() == 0 ? "" : Cat(table.set_aside(), " set aside");
  }

  // Until all is done or set aside.
  void Attend(Coordinator& coordinator, const UnitFunction& work) {
    if (options_.work) {
      try {
        WorkOn(coordinator.LocalLink(),
               {.token = token_,
                .job = job_.identity,
                .worker = DrawWorkerNumber(),
                .name = NameOfThisWorker()},
               work, WithoutWaiting(StoppedBySignals(options_.worker)));
      } catch (const Error&) {
        coordinator.Finished();  // throws the reason, if the coordinator failed first
        throw;
      }
    }
    const auto stop = StoppedBySignals(options_.worker).stop;
    while (!coordinator.Finished()) {
      if (stop())
        Fail(Exit::kStoppedEarly,
             "stopped by a signal; finished units are kept: run the same command again");
      std::this_thread::sleep_for(milliseconds(10));
    }
  }

  const LeasedJob& job_;
  const LeaseOptions& options_;
  std::string token_;
  LeaseService service_;
  LeasedResult result_;
};

}  // namespace

LeasedResult RunLeased(const LeasedJob& job, const UnitFunction& work, const LeaseOptions& options,
                       const ResultFunction& on_result) {
  Run run(job, options);
  run.Work(work);
  run.CheckSetAside();
  run.RemoveStrays();
  return run.Deliver(on_result);
}

void WorkLeased(const LeasedJob& job, const UnitFunction& work, const JoinOptions& options) {
  std::string token = options.token;
  const char* given = std::getenv("WHYREC_LEASE_TOKEN");
  if (token.empty() && given != nullptr) token = given;
  const WorkerOptions worker = StoppedBySignals(options.worker);
  if (token.empty()) {  // the coordinator may start after us
    const bool there = WaitFor(options.patience, [&] {
      token = FirstLine(ReadFileIfAny(TokenOf(job.folder)));
      return !token.empty() || worker.stop();
    });
    if (!there)
      Fail(Exit::kLaunch, TokenOf(job.folder).string(), ": no coordinator wrote it within ",
           options.patience, " s; is the folder shared?");
  }
  WorkOn(MakeSocketLink({.address = options.address,
                         .address_file = AddressOf(job.folder),
                         .patience = options.patience}),
         {.token = token,
          .job = job.identity,
          .worker = DrawWorkerNumber(),
          .name = NameOfThisWorker()},
         work, worker);
}

}  // namespace whyrec::cluster
