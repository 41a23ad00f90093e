#include "src/base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace whyrec {
namespace {

// What `work` writes to stderr in the given mode.
template <typename Work>
std::string Shown(ProgressMode mode, Work work) {
  SetProgressMode(mode);
  testing::internal::CaptureStderr();
  work();
  SetProgressMode(ProgressMode::kAuto);
  SetLogRank(0);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, OnlyRankZeroSpeaks) {
  EXPECT_EQ(Shown(ProgressMode::kNone,
                  [] {
                    Info("a");
                    Warn("b");
                    SetLogRank(1);
                    Info("c");
                    Warn("d");
                    Progress("train", 1, "steps").Advance();
                  }),
            "a\nwarning: b\n");
}

TEST(Progress, PlainLinesAreFirstAndLast) {
  const std::string text = Shown(ProgressMode::kLines, [] {
    Progress progress("train", 1000, "steps");
    for (int i = 0; i < 1000; ++i) progress.Advance(1, "loss 2.31");
  });
  double rate = 0;
  char left[16] = "";
  int read = 0;
  std::sscanf(text.c_str(),
              "train 1/1000 steps, %lf steps/s, %15s left, loss 2.31\n"
              "train 1000/1000 steps in 0s, loss 2.31\n%n",
              &rate, left, &read);
  EXPECT_EQ(read, static_cast<int>(text.size())) << text;
  EXPECT_GT(rate, 0);
}

TEST(Progress, BarIsRedrawnInPlaceAndAtMostTenTimesASecond) {
  const std::string text = Shown(ProgressMode::kBar, [] {
    Progress progress("read", 100000, "lines");
    for (int i = 0; i < 100000; ++i) progress.Advance();
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_TRUE(text.ends_with("100000/100000 lines in 0s\n")) << text;
  EXPECT_LT(std::count(text.begin(), text.end(), '\r'), 12);
}

TEST(Progress, ResumedWorkIsNotCountedAsSpeed) {
  const std::string text = Shown(ProgressMode::kLines, [] {
    Progress progress("train", 1000000000, "steps");
    progress.Resume(999999990);
    progress.Advance();
  });
  double rate = 0;
  ASSERT_EQ(std::sscanf(text.c_str(), "train 999999991/1000000000 steps, %lf steps/s", &rate), 1)
      << text;
  EXPECT_LT(rate, 1e8);  // one step, not a thousand million, in some microseconds
}

TEST(Progress, StoppedWorkShowsWhereItStopped) {
  const std::string text = Shown(ProgressMode::kLines, [] {
    Progress progress("train", 10, "steps");
    for (int i = 0; i < 3; ++i) progress.Advance();
  });
  EXPECT_NE(text.find("train 3/10 steps"), std::string::npos) << text;
}

TEST(Progress, NoneSaysNothing) {
  EXPECT_EQ(Shown(ProgressMode::kNone, [] { Progress("x", 2, "y").Advance(2); }), "");
  EXPECT_EQ(Shown(ProgressMode::kLines, [] { Progress("x", 2, "y"); }), "");
}

}  // namespace
}  // namespace whyrec
