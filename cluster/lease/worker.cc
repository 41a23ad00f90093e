#include "cluster/lease/worker.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "cluster/lease/clock.h"
#include "cluster/lease/service.h"
#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/text_file.h"

namespace whyrec::cluster {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kPulse = milliseconds(50);      // the second thread looks what there is to say
constexpr auto kFlushEvery = milliseconds(5);  // results of tiny units travel together

bool IsOfTheWorker(Exit code) {
  switch (code) {
    case Exit::kUsage:
    case Exit::kUnavailable:
    case Exit::kLaunch:
    case Exit::kCannotWrite:
    case Exit::kStoppedEarly:
      return true;
    default:
      return false;
  }
}

class Loop {
 public:
  Loop(std::unique_ptr<Link> link, Introduction introduction, const UnitFunction& work,
       const WorkerOptions& options)
      : client_(std::move(introduction)), work_(work), options_(options), link_(std::move(link)) {}

  void Start() {
    link_->Start(
        {.connected = [this] { Connected(); },
         .message = [this](const wire::FromCoordinator& message) { Hear(message); },
         .lost = [this] { Locked([&] { client_.Disconnected(); }); },
         .given_up = [this](const std::string& why) { Locked([&] { given_up_ = why; }); }});
    pulse_ = std::jthread([this](std::stop_token ending) {
      std::unique_lock lock(mutex_);
      while (!ending.stop_requested()) {
        changed_.wait_for(lock, ending, kPulse, [] { return false; });
        lock.unlock();
        Flush();
        lock.lock();
      }
    });
  }

  void Run() {
    for (;;) {
      std::optional<LeaseClient::Task> task;
      {
        std::unique_lock lock(mutex_);
        if (Over()) break;
        task = client_.full() ? std::nullopt : client_.Next();
      }
      if (!task) {
        Flush();
        std::unique_lock lock(mutex_);
        if (woken_ == 0) changed_.wait_for(lock, kPulse, [&] { return woken_ > 0; });
        woken_ = 0;
        continue;
      }
      std::optional<wire::UnitOutcome> outcome = Do(*task);
      bool due = false;
      Locked(
          [&] {
            outcome ? client_.Finish(*task, std::move(*outcome)) : client_.Abandon();
            due = Clock::now() - flushed_ >= kFlushEvery;
          },
          false);
      if (due) Flush();
    }
    Leave();
  }

 private:
  template <typename Body>
  void Locked(Body body, bool wake = true) {
    std::lock_guard lock(mutex_);
    body();
    if (!wake) return;
    ++woken_;
    changed_.notify_all();
  }

  void Connected() {
    wire::FromWorker hello;
    Locked([&] { hello = client_.Greet(Now()); });
    link_->Send(std::move(hello));
  }

  void Hear(const wire::FromCoordinator& message) {
    Locked([&] { client_.Receive(message, Now()); });
    if (message.has_welcome()) Flush();
  }

  void Flush() {
    wire::FromWorker message;
    {
      std::lock_guard lock(mutex_);
      flushed_ = Clock::now();
      message = client_.Collect(Now());
    }
    if (message.ByteSizeLong() > 0) link_->Send(std::move(message));
  }

  Clock::duration Grace() const {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(options_.stop_grace));
  }

  bool Over() const {
    return client_.end() || !client_.refusal().empty() || !given_up_.empty() ||
           (options_.stop && options_.stop());
  }

  // A unit at work, as its function sees it.
  class AtWork final : public UnitProgress {
   public:
    AtWork(Loop& loop, const LeaseClient::Task& task) : loop_(loop), task_(task) {
      if (!task.begun) return;
      step_ = task.begun->step();
      former_seconds_ = task.begun->seconds();
      begun_ = loop.ContentOf(*task.begun);
    }
    const std::string& begun() const override { return begun_; }

    void Save(std::string bytes) override {
      wire::UnitPartial partial;
      partial.set_unit(task_.unit);
      partial.set_fence(task_.fence);
      partial.set_step(++step_);
      partial.set_seconds(seconds());
      if (bytes.size() > loop_.options_.largest_message)
        loop_.WriteFile(PartialFileName(task_.unit, task_.fence, step_), bytes,
                        *partial.mutable_file());
      else
        partial.set_content(std::move(bytes));
      const auto now = Clock::now();
      const bool wait =
          std::chrono::duration<double>(now - kept_).count() >= loop_.options_.worth_waiting;
      abandoned_ = !loop_.Save(std::move(partial), wait);
      if (abandoned_)
        Fail(Exit::kStoppedEarly, "unit ", task_.unit,
             " is abandoned: another worker has finished it, or this one has to stop");
      if (wait) kept_ = Clock::now();
    }

    // Of work, over all tries.
    double seconds() const {
      return former_seconds_ + std::chrono::duration<double>(Clock::now() - start_).count();
    }
    bool abandoned() const { return abandoned_; }

   private:
    Loop& loop_;
    const LeaseClient::Task& task_;
    std::string begun_;
    uint32_t step_ = 0;
    double former_seconds_ = 0;
    Clock::time_point start_ = Clock::now(), kept_ = start_;
    bool abandoned_ = false;
  };

  // False when working on the unit has become pointless.
  bool Save(wire::UnitPartial partial, bool wait) {
    Locked([&] { client_.Save(std::move(partial)); }, false);
    Flush();
    std::unique_lock lock(mutex_);
    std::optional<Clock::time_point> last;
    while (client_.saved() == LeaseClient::Saved::kWaiting) {
      if (Over()) {
        if (!last) last = Clock::now() + Grace();
        if (Clock::now() >= *last) break;
      } else if (!wait) {
        break;
      }
      changed_.wait_for(lock, kPulse);
    }
    return client_.saved() != LeaseClient::Saved::kNeedless && !Over();
  }

  // Nothing when the unit is better left.
  std::optional<wire::UnitOutcome> Do(const LeaseClient::Task& task) {
    wire::UnitOutcome outcome;
    AtWork at_work(*this, task);
    try {
      std::string result = work_(task.unit, at_work);
      if (result.size() > options_.largest_message)
        WriteFile(ResultFileName(task.unit, task.fence), result, *outcome.mutable_file());
      else
        outcome.set_result(std::move(result));
    } catch (const Error& e) {
      if (at_work.abandoned()) return std::nullopt;
      if (IsOfTheWorker(e.code())) {
        Leave(std::current_exception());
        throw;
      }
      outcome.set_failure(e.what());
    } catch (const std::exception& e) {
      outcome.set_failure(e.what());
    }
    if (outcome.has_failure() && outcome.failure().size() > 2000)
      outcome.mutable_failure()->resize(2000);
    outcome.set_seconds(at_work.seconds());
    return outcome;
  }

  std::filesystem::path Folder() {
    std::filesystem::path folder = options_.folder;
    if (folder.empty()) Locked([&] { folder = client_.folder(); }, false);
    return folder;
  }

  void WriteFile(const std::string& name, const std::string& bytes, wire::ResultFile& file) {
    file.set_name(name);
    file.set_bytes(bytes.size());
    file.set_sha256(Sha256Of(bytes));
    WriteDurably(Folder() / name, bytes);
  }

  // Empty, which only costs time, when its file is not what was saved.
  std::string ContentOf(const wire::UnitPartial& partial) {
    if (!partial.has_file()) return partial.content();
    std::string bytes = ReadFileIfAny(Folder() / partial.file().name());
    return Sha256Of(bytes) == partial.file().sha256() ? bytes : "";
  }

  // Hands in finished results, then says goodbye, which frees the leases at once.
  void Leave(std::exception_ptr unfit = nullptr) {
    std::optional<wire::End::Reason> end;
    std::string refusal, given_up;
    Locked([&] {
      client_.DropLeases();
      end = client_.end();
      refusal = client_.refusal();
      given_up = given_up_;
    });
    if (given_up.empty() && refusal.empty() && end != wire::End::FINISHED) {
      const auto last = Clock::now() + Grace();
      std::unique_lock lock(mutex_);
      while (!client_.answered() && given_up_.empty() && Clock::now() < last) {
        lock.unlock();
        Flush();
        lock.lock();
        changed_.wait_for(lock, milliseconds(10));
      }
    }
    wire::FromWorker goodbye;
    goodbye.set_leave(true);
    link_->Send(std::move(goodbye));
    if (unfit) return;
    if (!refusal.empty()) Fail(Exit::kLaunch, "the coordinator refused this worker: ", refusal);
    if (end == wire::End::FINISHED) return;
    if (end == wire::End::FAILED)
      Fail(Exit::kLaunch, "the coordinator has failed; see its message");
    if (!given_up.empty()) Fail(Exit::kLaunch, given_up);
    Fail(Exit::kStoppedEarly,
         "stopped by a signal; finished units are kept: run the same command again");
  }

  LeaseClient client_;
  const UnitFunction& work_;
  const WorkerOptions& options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int woken_ = 0;
  std::string given_up_;
  Clock::time_point flushed_{};
  std::unique_ptr<Link> link_;  // these two last: they end first, and call the others until then
  std::jthread pulse_;
};

}  // namespace

void WorkOn(std::unique_ptr<Link> link, Introduction introduction, const UnitFunction& work,
            const WorkerOptions& options) {
  Loop loop(std::move(link), std::move(introduction), work, options);
  loop.Start();
  loop.Run();
}

uint64_t DrawWorkerNumber() {
  std::random_device device;
  return (uint64_t{device()} << 32 | device()) | 1;
}

std::string NameOfThisWorker() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  return Cat(host, ":", static_cast<int>(getpid()));
}

}  // namespace whyrec::cluster
