// The rules of the lease table one by one; times and answers are worked out by hand.
#include "cluster/lease/table.h"

#include <gtest/gtest.h>

#include <numeric>

namespace whyrec::cluster {
namespace {

using Units = std::vector<int64_t>;
using State = LeaseTable::State;

constexpr uint64_t kAnn = 11, kBob = 22, kEve = 33;
constexpr Micros kTtl = 4 * kSecond;

LeaseTable Table(size_t units, LeaseRules rules = {}) {
  rules.ttl = kTtl;
  LeaseTable table(std::vector<int64_t>(units, 10), rules, 100);
  table.Advance(0);
  return table;
}

// In steps that do not count as sleep.
void Pass(LeaseTable& table, Micros& now, Micros time) {
  for (const Micros end = now + time; now < end;)
    table.Advance(now = std::min(end, now + kTtl / 8));
}

TEST(LeaseTable, FencesRiseAndTheFirstLeaseIsOneUnit) {
  LeaseTable table = Table(10);
  const LeaseGrant a = table.Lease(kAnn), b = table.Lease(kBob);
  EXPECT_EQ(a.units, Units{0});
  EXPECT_EQ(b.units, Units{1});
  EXPECT_EQ(a.fence, 100u);
  EXPECT_EQ(b.fence, 101u);
}

// 10 cost in 0.1 s: 7 s are 70 units. But first it may only grow fourfold, and then half of an
// equal share is the limit.
TEST(LeaseTable, LeasesGrowToSevenSecondsAndShrinkTowardsTheEnd) {
  LeaseTable table = Table(1000);
  std::vector<size_t> sizes;
  int64_t left = 1000;
  while (!table.finished()) {
    const LeaseGrant grant = table.Lease(kAnn);
    ASSERT_FALSE(grant.units.empty());
    if (grant.units.size() > 1 && sizes.size() > 4) {
      EXPECT_LE(static_cast<int64_t>(grant.units.size()), std::max<int64_t>(1, left / 2));
    }
    sizes.push_back(grant.units.size());
    for (const int64_t unit : grant.units) EXPECT_TRUE(table.Commit(kAnn, unit, grant.fence, 0.1));
    left -= static_cast<int64_t>(grant.units.size());
  }
  EXPECT_EQ((std::vector<size_t>(sizes.begin(), sizes.begin() + 4)),
            (std::vector<size_t>{1, 4, 16, 64}));
  EXPECT_NEAR(static_cast<double>(sizes[4]), 70, 1);
  EXPECT_EQ(sizes.back(), 1u);
}

TEST(LeaseTable, SizesFollowTheCosts) {
  LeaseTable table({1000, 10, 10, 10, 1000, 1000, 10}, {.lease_seconds = 3}, 1);
  table.Advance(0);
  LeaseGrant grant = table.Lease(kAnn);
  EXPECT_EQ(grant.units, Units{0});
  table.Commit(kAnn, 0, grant.fence, 100);  // 10 cost a second: 30 in a lease
  EXPECT_EQ(table.Lease(kAnn).units, (Units{1, 2, 3}));
  EXPECT_EQ(table.Lease(kAnn).units, Units{4});  // one unit at least
}

TEST(LeaseTable, HeartbeatsExtendAndSilenceEnds) {
  LeaseTable table = Table(2);
  Micros now = 0;
  const LeaseGrant a = table.Lease(kAnn), b = table.Lease(kBob);
  Pass(table, now, kTtl / 2);
  EXPECT_TRUE(table.Heartbeat(kAnn, {a.fence}).ended.empty());
  EXPECT_EQ(table.Heartbeat(kBob, {a.fence}).ended, std::vector<uint64_t>{a.fence});  // not his
  Pass(table, now, kTtl / 2 + 1);
  EXPECT_EQ(table.state(0), State::kLeased);
  EXPECT_EQ(table.state(1), State::kPending);
  EXPECT_EQ(table.Heartbeat(kBob, {b.fence}).ended, std::vector<uint64_t>{b.fence});
  const auto news = table.TakeNews();
  ASSERT_EQ(news.failures.size(), 1u);
  EXPECT_EQ(news.failures[0].unit, 1);
  EXPECT_TRUE(news.failures[0].lost);
}

TEST(LeaseTable, HeartbeatsWithoutProgressAreNotEnough) {
  LeaseTable table = Table(1, {.unit_limit = 10 * kSecond});
  Micros now = 0;
  const LeaseGrant grant = table.Lease(kAnn);
  for (int second = 0; second < 10; ++second) {
    EXPECT_TRUE(table.Heartbeat(kAnn, {grant.fence}).ended.empty()) << second;
    Pass(table, now, kSecond);
  }
  Pass(table, now, 1);
  EXPECT_EQ(table.state(0), State::kPending);
}

TEST(LeaseTable, LateResultsCountUntilTheUnitIsDone) {
  LeaseTable table = Table(1);
  Micros now = 0;
  const LeaseGrant old = table.Lease(kAnn);
  Pass(table, now, kTtl + 1);
  const LeaseGrant again = table.Lease(kBob);
  EXPECT_EQ(again.units, Units{0});
  EXPECT_GT(again.fence, old.fence);
  EXPECT_TRUE(table.Commit(kAnn, 0, old.fence, 1));
  EXPECT_FALSE(table.Commit(kBob, 0, again.fence, 1));
  EXPECT_FALSE(table.Commit(kAnn, 0, old.fence, 1));
  EXPECT_EQ(table.Heartbeat(kBob, {again.fence}).ended, std::vector<uint64_t>{again.fence});
  EXPECT_TRUE(table.finished());
  EXPECT_EQ(table.leases(), 0u);
}

TEST(LeaseTable, ASleepIsNobodysFault) {
  LeaseTable table = Table(1);
  table.Lease(kAnn);
  table.Advance(3600 * kSecond);  // the coordinator was stopped for an hour
  table.Advance(-3600 * kSecond);
  EXPECT_EQ(table.state(0), State::kLeased);
}

// Bob returns each of his units a second after he got it; Ann has four for more than two.
TEST(LeaseTable, StragglersAreLeasedASecondTimeAndOnlyThen) {
  LeaseTable table = Table(12, {.straggler_floor = 0});
  Micros now = 0;
  LeaseGrant first = table.Lease(kAnn);
  table.Commit(kAnn, 0, first.fence, 1);
  const LeaseGrant slow = table.Lease(kAnn);  // min(fourfold, half of eleven)
  ASSERT_EQ(slow.units, (Units{1, 2, 3, 4}));
  std::vector<LeaseGrant> quick;
  for (LeaseGrant grant = table.Lease(kBob); !grant.units.empty(); grant = table.Lease(kBob))
    quick.push_back(grant);
  EXPECT_EQ(quick.size(), 7u);
  Pass(table, now, kSecond);
  for (const LeaseGrant& grant : quick) table.Commit(kBob, grant.units[0], grant.fence, 0.1);
  Pass(table, now, kSecond);
  EXPECT_TRUE(table.Lease(kBob).units.empty()) << "twice the median, but not more";
  Pass(table, now, 1);
  EXPECT_TRUE(table.Lease(kAnn).units.empty()) << "not from herself";
  const LeaseGrant second = table.Lease(kBob);
  EXPECT_EQ(second.units, (Units{4, 3}));  // half, from the far end
  const LeaseGrant third = table.Lease(kEve);
  EXPECT_EQ(third.units, Units{2}) << "no unit has three holders";
  EXPECT_TRUE(table.Commit(kBob, 4, second.fence, 0.1));
  EXPECT_EQ(table.Heartbeat(kAnn, {slow.fence}).skip, Units{4});
  table.Lose(kBob);
  EXPECT_EQ(table.state(3), State::kLeased) << "Ann still has it";
}

TEST(LeaseTable, TwoWorkersOrFiveAttemptsSetAside) {
  LeaseTable table = Table(1);
  Micros now = 0;
  LeaseGrant grant = table.Lease(kAnn);
  table.Fail(kAnn, 0, grant.fence, "bad");
  table.Fail(kAnn, 0, grant.fence, "bad");  // a repeated message
  EXPECT_EQ(table.failures().at(0).attempts, 1);
  EXPECT_TRUE(table.Lease(kAnn).units.empty()) << "others first";
  grant = table.Lease(kBob);
  table.Fail(kBob, 0, grant.fence, "worse");
  EXPECT_EQ(table.state(0), State::kSetAside);
  EXPECT_EQ(table.failures().at(0).why, "worse");
  EXPECT_EQ(table.TakeNews().set_aside, Units{0});
  EXPECT_TRUE(table.finished());

  LeaseTable alone = Table(1);
  now = 0;
  for (int attempt = 1; attempt <= 5; ++attempt) {
    EXPECT_EQ(alone.state(0), State::kPending) << attempt;
    grant = alone.Lease(kAnn);
    ASSERT_FALSE(grant.units.empty());
    alone.Fail(kAnn, 0, grant.fence, "bad");
    Pass(alone, now, kSecond);
  }
  EXPECT_EQ(alone.state(0), State::kSetAside);
  EXPECT_TRUE(alone.Commit(kBob, 0, grant.fence, 1)) << "a result is better than none";
  EXPECT_EQ(alone.set_aside(), 0);
}

// Only the unit at work is to blame for a death.
TEST(LeaseTable, ADeathChargesOneUnit) {
  LeaseTable table = Table(40);
  LeaseGrant grant = table.Lease(kAnn);
  table.Commit(kAnn, 0, grant.fence, 0.1);
  grant = table.Lease(kAnn);
  ASSERT_EQ(grant.units, (Units{1, 2, 3, 4}));
  table.Commit(kAnn, 1, grant.fence, 0.1);
  table.Lose(kAnn);
  EXPECT_EQ(table.failures().size(), 1u);
  EXPECT_EQ(table.failures().at(2).attempts, 1);
  EXPECT_TRUE(table.failures().at(2).workers.empty());
  for (const int64_t unit : {2, 3, 4}) EXPECT_EQ(table.state(unit), State::kPending);
  table.Lease(kBob);
  table.Leave(kBob);
  EXPECT_EQ(table.failures().size(), 1u) << "who leaves is not blamed";
}

TEST(LeaseTable, PartialsCountFromTheHolderAndOnlyForward) {
  LeaseTable table = Table(3);
  Micros now = 0;
  const LeaseGrant grant = table.Lease(kAnn);
  EXPECT_TRUE(table.Save(kAnn, 0, grant.fence, 1));
  EXPECT_FALSE(table.Save(kAnn, 0, grant.fence, 1)) << "a repeated message";
  EXPECT_FALSE(table.Save(kBob, 0, grant.fence, 2)) << "not his lease";
  EXPECT_FALSE(table.Save(kAnn, 1, grant.fence, 2)) << "not of this lease";
  EXPECT_TRUE(table.Save(kAnn, 0, grant.fence, 2));
  table.Lose(kAnn);
  EXPECT_FALSE(table.Save(kAnn, 0, grant.fence, 3)) << "the lease has ended";
  const LeaseGrant again = table.Lease(kBob);
  ASSERT_EQ(again.units, Units{0});
  EXPECT_FALSE(table.Save(kBob, 0, again.fence, 2)) << "that far it was";
  EXPECT_TRUE(table.Save(kBob, 0, again.fence, 3));
  Pass(table, now, kTtl / 2);
  EXPECT_TRUE(table.Save(kBob, 0, again.fence, 4));
  Pass(table, now, kTtl / 2 + kTtl / 4);
  EXPECT_EQ(table.state(0), State::kLeased) << "saving is a sign of life";
  EXPECT_TRUE(table.Commit(kBob, 0, again.fence, 1));
  EXPECT_FALSE(table.Save(kBob, 0, again.fence, 5));
}

TEST(LeaseTable, ALeaseHoldsOneBegunUnitAtMost) {
  LeaseTable table = Table(1000);
  for (const int64_t unit : {70, 71, 200}) table.RestoreBegun(unit, 1);
  LeaseGrant grant;
  for (int i = 0; i < 3; ++i) {  // 1, 4, 16
    grant = table.Lease(kAnn);
    for (const int64_t unit : grant.units) table.Commit(kAnn, unit, grant.fence, 0.1);
  }
  grant = table.Lease(kAnn);
  EXPECT_EQ(grant.units.front(), 21);
  EXPECT_EQ(grant.units.back(), 70) << "64 fit, but two of them are begun";
}

TEST(LeaseTable, WhatTheJournalSaysIsRestored) {
  LeaseTable table = Table(4);
  table.RestoreDone(0);
  table.RestoreFailure({.unit = 1, .worker = kAnn, .lost = false, .why = "bad"});
  table.RestoreSetAside(2);
  EXPECT_EQ(table.done(), 1);
  EXPECT_EQ(table.set_aside(), 1);
  LeaseGrant grant = table.Lease(kBob);
  EXPECT_EQ(grant.units, Units{1});
  table.Fail(kBob, 1, grant.fence, "bad");
  EXPECT_EQ(table.state(1), State::kSetAside) << "the second worker, over two lives";
}

}  // namespace
}  // namespace whyrec::cluster
