// Leased work in one process, alone and with workers on threads over real sockets.
#include "cluster/lease/leased_work.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "src/base/error.h"
#include "tests/store/temporary.h"

namespace whyrec::cluster {
namespace {

std::string ResultOf(int64_t unit) { return Cat("result ", unit); }

class LeasedWork : public testing::Test {
 protected:
  LeasedJob Job(size_t units) const {
    return {.identity = "test", .cost = std::vector<int64_t>(units, 1), .folder = folder_ / "job"};
  }
  // Runs, and checks that results come once, in order.
  LeasedResult Run(const LeasedJob& job, const UnitFunction& work,
                   const LeaseOptions& options = {}) {
    results_.clear();
    int64_t last = -1;
    return RunLeased(job, work, options, [&](int64_t unit, const std::string& bytes) {
      EXPECT_LT(last, unit);
      last = unit;
      results_[unit] = bytes;
    });
  }
  void ExpectAll(int64_t units) const {
    EXPECT_EQ(std::ssize(results_), units);
    for (const auto& [unit, bytes] : results_) EXPECT_EQ(bytes, ResultOf(unit));
  }

  Temporary folder_;
  std::map<int64_t, std::string> results_;
};

TEST_F(LeasedWork, AloneAndAgainFromTheJournal) {
  int64_t calls = 0;
  const auto work = [&](int64_t unit) { return ++calls, ResultOf(unit); };
  LeasedResult result = Run(Job(500), work);
  EXPECT_EQ(result.done, 500);
  EXPECT_EQ(result.continued, 0);
  EXPECT_EQ(calls, 500);
  ExpectAll(500);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "job" / "address"));
  result = Run(Job(500), work);
  EXPECT_EQ(result.continued, 500);
  EXPECT_EQ(calls, 500);
  ExpectAll(500);
}

TEST_F(LeasedWork, NothingToDo) {
  EXPECT_EQ(Run(Job(0), ResultOf).done, 0);
  EXPECT_EQ(Run(Job(0), ResultOf, {.listen = "127.0.0.1"}).done, 0);
}

TEST_F(LeasedWork, AStopKeepsWhatIsDone) {
  std::atomic<int64_t> calls = 0;
  const auto work = [&](int64_t unit) { return ++calls, ResultOf(unit); };
  LeaseOptions options;
  options.worker.stop = [&] { return calls >= 100; };
  try {
    Run(Job(300), work, options);
    FAIL() << "not stopped";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kStoppedEarly);
  }
  EXPECT_EQ(calls, 100);
  EXPECT_EQ(Run(Job(300), work).continued, 100);
  EXPECT_EQ(calls, 300);
  ExpectAll(300);
}

TEST_F(LeasedWork, LargeResultsAreFiles) {
  LeaseOptions options;
  options.worker.largest_message = 8;  // "result 9" still fits
  EXPECT_EQ(Run(Job(20), ResultOf, options).done, 20);
  ExpectAll(20);
  const auto files = [&] {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "job"))
      if (entry.path().filename().string().starts_with("result-")) out.push_back(entry.path());
    return out;
  };
  EXPECT_EQ(files().size(), 10u);
  std::ofstream(folder_ / "job" / "result-00000003-77") << "of an attempt that came too late";
  EXPECT_EQ(Run(Job(20), ResultOf, options).continued, 20);
  EXPECT_EQ(files().size(), 10u);
  std::ofstream(files().front(), std::ios::binary) << "result 7x";  // as long as it was
  EXPECT_THROW(Run(Job(20), ResultOf, options), Error);
}

// Units of three levels; `leave_at`: the unit whose second level finds the endpoint away.
struct Levels {
  std::string operator()(int64_t unit, UnitProgress& progress) {
    std::string text = progress.begun();
    begun[unit] = text;
    while (text.size() < 3 * size) {
      if (unit == leave_at && text.size() == size) Fail(Exit::kUnavailable, "the endpoint is away");
      text += std::string(size, static_cast<char>('a' + unit));
      if (text.size() < 3 * size) progress.Save(text);
    }
    return ResultOf(unit);
  }
  size_t size = 4;
  int64_t leave_at = -1;
  std::map<int64_t, std::string> begun;
};

TEST_F(LeasedWork, ABegunUnitGoesOnWhereItWasSaved) {
  for (const size_t large : {100, 3}) {  // in the message, and as a file
    LeaseOptions options;
    options.worker.largest_message = large;
    Levels levels{.leave_at = 5};
    LeasedJob job = Job(10);
    job.folder /= Cat(large);
    EXPECT_THROW(Run(job, std::ref(levels), options), Error);
    EXPECT_EQ(levels.begun[5], "");
    levels.leave_at = -1;
    EXPECT_EQ(Run(job, std::ref(levels), options).continued, 5);
    EXPECT_EQ(levels.begun[5], "ffff");
    EXPECT_EQ(levels.begun[6], "");
    ExpectAll(10);
    for (const auto& entry : std::filesystem::directory_iterator(job.folder))
      EXPECT_FALSE(entry.path().filename().string().starts_with("partial-")) << entry.path();
  }
}

TEST_F(LeasedWork, AChangedFileMeansToBeginAnew) {
  LeaseOptions options;
  options.worker.largest_message = 3;
  Levels levels{.leave_at = 5};
  EXPECT_THROW(Run(Job(10), std::ref(levels), options), Error);
  int changed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "job"))
    if (entry.path().filename().string().starts_with("partial-00000005-")) {
      std::ofstream(entry.path()) << "gggg";
      ++changed;
    }
  EXPECT_EQ(changed, 1);
  levels.leave_at = -1;
  Run(Job(10), std::ref(levels), options);
  EXPECT_EQ(levels.begun[5], "");
  ExpectAll(10);
}

// A stop ends a long unit at its next save, which is kept.
TEST_F(LeasedWork, AStopDoesNotWaitForTheUnit) {
  std::atomic<bool> stop = false;
  std::vector<int> levels;
  const auto work = [&](int64_t, UnitProgress& progress) {
    for (int done = progress.begun().empty() ? 0 : std::stoi(progress.begun()); done < 4;) {
      levels.push_back(++done);
      stop = levels.size() == 2;
      progress.Save(Cat(done));
    }
    return ResultOf(0);
  };
  LeaseOptions options;
  options.worker.stop = [&] { return stop.load(); };
  try {
    Run(Job(1), work, options);
    FAIL() << "not stopped";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kStoppedEarly);
  }
  EXPECT_EQ(Run(Job(1), work).done, 1);
  EXPECT_EQ(levels, (std::vector<int>{1, 2, 3, 4}));
  ExpectAll(1);
}

// A worker over a socket leaves in mid-unit; the one that comes next goes on.
TEST_F(LeasedWork, AnotherWorkerGoesOn) {
  const LeasedJob job = Job(1);
  std::jthread coordinator([&] { Run(job, ResultOf, {.listen = "127.0.0.1", .work = false}); });
  Levels first{.leave_at = 0}, second;
  EXPECT_THROW(WorkLeased(job, std::ref(first), {.patience = 20}), Error);
  WorkLeased(job, std::ref(second), {.patience = 20});
  EXPECT_EQ(second.begun[0], "aaaa");
  coordinator.join();
  ExpectAll(1);
}

TEST_F(LeasedWork, FailuresAreCountedAndMayBeTooMany) {
  LeaseOptions options;
  options.rules.retry_after = kSecond / 100;
  const auto work = [](int64_t unit) {
    if (unit % 10 == 3) throw std::runtime_error(Cat("cannot do ", unit));
    return ResultOf(unit);
  };
  LeasedResult result = Run(Job(30), work, options);
  EXPECT_EQ(result.done, 27);
  ASSERT_EQ(result.set_aside.size(), 3u);
  EXPECT_EQ(result.set_aside[1].unit, 13);
  EXPECT_EQ(result.set_aside[1].attempts, 5);
  EXPECT_EQ(result.set_aside[1].why, "cannot do 13");
  ExpectAll(27);
  options.most_set_aside = 2;
  try {
    Run(Job(30), work, options);
    FAIL() << "three are too many";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kData);
    EXPECT_NE(std::string(e.what()).find("the first is unit 3, 5 attempts: cannot do 3"),
              std::string::npos)
        << e.what();
  }
}

// An endpoint that is away must not poison units.
TEST_F(LeasedWork, AnUnfitWorkerLeaves) {
  bool away = true;
  const auto work = [&](int64_t unit) {
    if (away && unit == 5) Fail(Exit::kUnavailable, "the endpoint is away");
    return ResultOf(unit);
  };
  try {
    Run(Job(10), work);
    FAIL() << "went on";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kUnavailable);
  }
  away = false;
  const LeasedResult result = Run(Job(10), work);
  EXPECT_EQ(result.continued, 5);
  ExpectAll(10);
}

TEST_F(LeasedWork, WorkersOnThreads) {
  const LeasedJob job = Job(3000);
  std::mutex mutex;
  std::map<int, int> by;
  const auto as = [&](int who) {
    return [&, who](int64_t unit) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      std::lock_guard lock(mutex);
      ++by[who];
      return ResultOf(unit);
    };
  };
  std::vector<std::jthread> workers;
  for (int who = 1; who <= 3; ++who)
    workers.emplace_back([&, who] { WorkLeased(job, as(who), {.patience = 20}); });
  LeaseOptions options{.listen = "127.0.0.1"};
  options.rules.lease_seconds = 0.05;
  const LeasedResult result = Run(job, as(0), options);
  workers.clear();
  EXPECT_EQ(result.done, 3000);
  ExpectAll(3000);
  EXPECT_EQ(by.size(), 4u) << "everybody had work";
  // Whoever comes after the end is told so.
  WorkLeased(job, as(9), {.patience = 20});
  EXPECT_EQ(by.count(9), 0u);
}

TEST_F(LeasedWork, WithoutACoordinatorAWorkerGivesUp) {
  const auto join = [&](const JoinOptions& options) {
    try {
      WorkLeased(Job(1), ResultOf, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::kLaunch);
      return std::string(e.what());
    }
    return std::string("joined");
  };
  EXPECT_NE(join({.patience = 0.1}).find("no coordinator wrote it"), std::string::npos);
  EXPECT_NE(join({.address = "127.0.0.1:1", .token = "x", .patience = 0.1}).find("refused"),
            std::string::npos);
}

TEST_F(LeasedWork, AnImpossibleAddressIsALaunchFailure) {
  try {
    Run(Job(1), ResultOf, {.listen = "192.0.2.1"});
    FAIL() << "listened";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kLaunch);
    EXPECT_NE(std::string(e.what()).find("cannot listen on 192.0.2.1"), std::string::npos);
  }
}

}  // namespace
}  // namespace whyrec::cluster
