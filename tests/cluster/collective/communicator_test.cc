// Self and Thread against the conformance checks, and what a rank does when another one fails.
#include "cluster/collective/communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <tuple>

#include "tests/base/error_of.h"
#include "tests/cluster/collective/conformance.h"

namespace whyrec::cluster {
namespace {

// Ranks 0: Self.
class Conformance : public testing::TestWithParam<std::tuple<Check, int>> {};

TEST_P(Conformance, Holds) {
  const auto& [check, ranks] = GetParam();
  if (ranks == 0) {
    check.run(*MakeSelf());
  } else {
    RunThreads(ranks, check.run);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conformance,
                         testing::Combine(testing::ValuesIn(kConformance), testing::Range(0, 6)),
                         [](const auto& info) {
                           const int ranks = std::get<1>(info.param);
                           return std::get<0>(info.param).name +
                                  (ranks == 0 ? "Self" : Cat("Thread", ranks));
                         });

// Every operation, pending on ranks 0 and 2 while rank 1 fails: they leave within the limit and say
// who, what and which; RunThreads throws what rank 1 threw.
class Failure : public testing::TestWithParam<std::string> {};

TEST_P(Failure, WakesTheOthers) {
  auto call = [&](Communicator& comm) {
    double x[4] = {};
    if (GetParam() == "AllReduce") comm.AllReduce(x, 4, DType::kF64, Reduce::kSum);
    if (GetParam() == "AllGather") comm.AllGather(x, sizeof x);
    if (GetParam() == "Broadcast") comm.Broadcast(x, sizeof x, 1);
    if (GetParam() == "Barrier") comm.Barrier();
  };
  std::atomic<int> told = 0;
  const auto start = std::chrono::steady_clock::now();
  auto body = [&](Communicator& comm) {
    call(comm);
    if (comm.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      throw std::domain_error("rank 1's own reason");
    }
    try {
      call(comm);
    } catch (const Error& e) {
      const std::string what = e.what();
      EXPECT_EQ(e.code(), Exit::kLaunch);
      EXPECT_EQ(what.find(Cat("rank ", comm.rank(), " of 3 gives up ", GetParam())), 0) << what;
      EXPECT_NE(what.find("operation 2: rank 1 has failed"), std::string::npos) << what;
      ++told;
      throw;
    }
  };
  EXPECT_THROW(RunThreads(3, body), std::domain_error);
  EXPECT_EQ(told, 2);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

INSTANTIATE_TEST_SUITE_P(In, Failure,
                         testing::Values("AllReduce", "AllGather", "Broadcast", "Barrier"),
                         [](const auto& info) { return info.param; });

std::string MessageOf(int ranks, const std::function<void(Communicator&)>& body) {
  return ErrorOf([&] { RunThreads(ranks, body); }, Exit::kLaunch);
}

TEST(Thread, DifferentCallsAreAnErrorNotAHang) {
  const std::string what = MessageOf(2, [](Communicator& comm) {
    std::vector<float> x(8);
    comm.AllReduce(x.data(), 7 + comm.rank(), DType::kF32, Reduce::kSum);
  });
  EXPECT_NE(what.find("rank 0 calls AllReduce(sum) of 7 F32, rank 1 calls AllReduce(sum) of 8 F32"),
            std::string::npos)
      << what;
}

TEST(Thread, ALateRankIsNamedAfterTheTimeOut) {
  std::string what;
  try {
    RunThreads(3,
               [](Communicator& comm) {
                 if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(600));
                 comm.Barrier();
               },
               {.seconds = 100, .first_seconds = 0.2});
  } catch (const Error& e) {
    what = e.what();
  }
  EXPECT_NE(what.find("gives up Barrier, operation 1: rank 1 did not arrive within 0.2 s"),
            std::string::npos)
      << what;
}

TEST(Thread, ABarrierForWorkHasNoTimeOut) {
  RunThreads(2,
             [](Communicator& comm) {
               if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(400));
               comm.Barrier(Waiting::kForWork);
             },
             {.seconds = 0.1, .first_seconds = 0.1});
}

TEST(Thread, UnequalCutsAreAnError) {
  const std::string what = MessageOf(2, [](Communicator& comm) {
    std::vector<float> x(3), own(3);
    comm.ReduceScatter(x.data(), own.data(), comm.rank() == 0 ? Sizes{1, 2} : Sizes{2, 1},
                       DType::kF32, Reduce::kSum);
  });
  EXPECT_NE(
      what.find("ReduceScatter(sum) of 3 F32, operation 1: ranks 0 and 1 divide it differently"),
      std::string::npos)
      << what;
}

TEST(ChooseDevice, FollowsWhatTheLauncherShows) {
  const Launch third = {.rank = 6, .size = 8, .local_rank = 2, .local_size = 4};
  EXPECT_EQ(ChooseDevice(third, 1), 0);  // --gpus-per-task=1
  EXPECT_EQ(ChooseDevice(third, 4), 2);
  EXPECT_EQ(ChooseDevice(third, 8), 2);
  EXPECT_THROW(ChooseDevice(third, 3), Error);
  EXPECT_THROW(ChooseDevice(third, 0), Error);
}

TEST(Thread, ARankThatEndsEarlyIsAnErrorNotAHang) {
  const std::string what = MessageOf(3, [](Communicator& comm) {
    if (comm.rank() != 2) comm.Barrier();
  });
  EXPECT_NE(what.find("gives up Barrier, operation 1: rank 2 has ended its work"),
            std::string::npos)
      << what;
}

// Many short operations in a row: ranks overtake each other at every one of them.
TEST(Thread, KeepsOperationsApart) {
  RunThreads(5, [](Communicator& comm) {
    for (int64_t i = 0; i < 3000; ++i) {
      int64_t x = i * (comm.rank() + 1);
      comm.AllReduce(&x, 1, DType::kI64, Reduce::kSum);
      WR_CHECK(x == i * 15, x);
      comm.Barrier();
      comm.Broadcast(&x, sizeof x, static_cast<int>(i % 5));
      WR_CHECK(comm.AllGather(&x, sizeof x).size() == 5);
    }
  });
}

TEST(Abort, EndsTheProcessWithTheCode) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(MakeSelf()->Abort(71), testing::ExitedWithCode(71), "");
  auto body = [](Communicator& comm) {
    if (comm.rank() == 1) comm.Abort(75);
    comm.Barrier();
  };
  EXPECT_EXIT(RunThreads(3, body), testing::ExitedWithCode(75), "");
}

}  // namespace
}  // namespace whyrec::cluster
