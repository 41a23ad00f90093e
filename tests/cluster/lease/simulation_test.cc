// Random schedules of faults against the real lease table, journal, service and client. Compared
// with what an undisturbed run gives: every unit's result is a function of the unit.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/cluster/lease/world.h"

namespace whyrec::cluster {
namespace {

uint64_t NumberFrom(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// WHYREC_LEASE_SCHEDULES: how many; WHYREC_LEASE_SEED: the first. One schedule alone: both.
TEST(LeaseSimulation, EveryUnitOnceWhateverHappens) {
  const uint64_t first = NumberFrom("WHYREC_LEASE_SEED", 1);
  const uint64_t schedules = NumberFrom("WHYREC_LEASE_SCHEDULES", 10'000);
  World::Tally sum;
  for (uint64_t seed = first; seed < first + schedules; ++seed) {
    try {
      World world(seed);
      world.Run();
      const auto& tally = world.tally();
      sum.done += tally.done;
      sum.set_aside += tally.set_aside;
      sum.kills += tally.kills;
      sum.cuts += tally.cuts;
      sum.repeats += tally.repeats;
      sum.late += tally.late;
      sum.levels += tally.levels;
      sum.continued += tally.continued;
      sum.in_vain += tally.in_vain;
      sum.needless += tally.needless;
    } catch (const std::exception& e) {
      FAIL() << "schedule " << seed << ": " << e.what() << "\nalone: WHYREC_LEASE_SEED=" << seed
             << " WHYREC_LEASE_SCHEDULES=1";
    }
  }
  RecordProperty("done", static_cast<int>(sum.done));
  std::printf(
      "%llu schedules: %lld units done, %lld set aside, %lld workers killed, %lld "
      "coordinators ended, %lld messages repeated, %lld results too late; %lld partial saves "
      "(%lld in vain, %lld of done units), %lld units continued\n",
      static_cast<unsigned long long>(schedules), static_cast<long long>(sum.done),
      static_cast<long long>(sum.set_aside), static_cast<long long>(sum.kills),
      static_cast<long long>(sum.cuts), static_cast<long long>(sum.repeats),
      static_cast<long long>(sum.late), static_cast<long long>(sum.levels),
      static_cast<long long>(sum.in_vain), static_cast<long long>(sum.needless),
      static_cast<long long>(sum.continued));
  if (schedules >= 10'000) {  // the faults did happen
    EXPECT_GT(sum.kills, 1000);
    EXPECT_GT(sum.cuts, 1000);
    EXPECT_GT(sum.late, 100);
    EXPECT_GT(sum.set_aside, 100);
    EXPECT_GT(sum.continued, 1000);
    EXPECT_GT(sum.in_vain, 100);
    EXPECT_GT(sum.needless, 10);
  }
}

}  // namespace
}  // namespace whyrec::cluster
