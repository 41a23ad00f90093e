// Who works on which unit: the rules of leased work as a pure state machine (docs/leases.md). Time
// is a value of the caller; there are no sockets, threads, files or clocks here.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace whyrec::cluster {

using Micros = int64_t;  // microseconds on the caller's clock; only differences count
constexpr Micros kSecond = 1'000'000;

struct LeaseRules {
  Micros ttl = 120 * kSecond;          // a lease without a sign of life ends
  Micros unit_limit = 1800 * kSecond;  // and so does one without progress, whatever its heartbeats
  double lease_seconds = 7;            // of work in one lease
  int64_t most_units = 4096;           // of one lease
  int workers = 2;                     // that failed on a unit set it aside
  int attempts = 5;                    // that failed or were lost set it aside
  Micros retry_after = kSecond;        // before a worker gets again what it failed on
  Micros straggler_floor = kSecond / 10;  // below it nothing counts as late
};

struct LeaseGrant {
  uint64_t fence = 0;
  std::vector<int64_t> units;  // empty: nothing to lease now
};

struct FailedUnit {
  int64_t unit = 0;
  uint64_t worker = 0;
  bool lost = false;  // the worker died or fell silent, as opposed to: said so
  std::string why;
};

class LeaseTable {
 public:
  enum class State : uint8_t { kPending, kLeased, kDone, kSetAside };

  // Units 0..n-1 with their estimated costs (any unit; at least 1 is assumed). Fences rise from
  // `first_fence`, which must lie above those of earlier coordinators of the same work.
  LeaseTable(std::vector<int64_t> cost, const LeaseRules& rules, uint64_t first_fence);

  // What the journal says, before the first lease.
  void RestoreDone(int64_t unit);
  void RestoreFailure(const FailedUnit& failure);
  void RestoreSetAside(int64_t unit);
  void RestoreBegun(int64_t unit, uint32_t step);

  // The time is now; leases end. Steps back count as none, steps of more than a quarter TTL as
  // that: a coordinator that slept has not heard its workers, which is not their fault.
  void Advance(Micros now);

  // Units for this worker: the lowest pending ones, sized by its speed and by what is left; when
  // there are none, units that another worker holds for long. At most one that is begun.
  LeaseGrant Lease(uint64_t worker);

  struct Pulse {
    std::vector<uint64_t> ended;  // fences that are no leases of this worker (any more)
    std::vector<int64_t> skip;    // units of its leases that others have done since
  };
  Pulse Heartbeat(uint64_t worker, const std::vector<uint64_t>& fences);

  // The worker has saved something of a unit that it holds. False: it does not hold the unit, or
  // another try is as far (`step`).
  bool Save(uint64_t worker, int64_t unit, uint64_t fence, uint32_t step);
  // A result has come, in time or late. False: the unit is done already, drop it.
  bool Commit(uint64_t worker, int64_t unit, uint64_t fence, double seconds);
  // The worker says that it failed. Counts once per lease, and only while it holds the unit.
  void Fail(uint64_t worker, int64_t unit, uint64_t fence, const std::string& why);
  void Leave(uint64_t worker);  // its leases are free, nobody is blamed
  // It died: what it was working at (the first unit of its first lease) is charged an attempt.
  void Lose(uint64_t worker);

  // What has to be written down, in order, since the last call.
  struct News {
    std::vector<FailedUnit> failures;
    std::vector<int64_t> set_aside;
  };
  News TakeNews();

  bool finished() const { return done_ + set_aside_ == size(); }
  int64_t size() const { return static_cast<int64_t>(units_.size()); }
  int64_t done() const { return done_; }
  int64_t set_aside() const { return set_aside_; }
  State state(int64_t unit) const { return units_.at(static_cast<size_t>(unit)).state; }
  size_t leases() const { return leases_.size(); }
  // The failures of a unit so far; the last one's text.
  struct Trouble {
    int attempts = 0;
    std::set<uint64_t> workers;  // that said they failed
    Micros barred_until = 0;     // for these workers
    std::string why;
  };
  const std::map<int64_t, Trouble>& troubles() const { return troubles_; }

 private:
  struct Unit {
    State state = State::kPending;
    uint64_t fences[2] = {0, 0};  // of the leases that hold it; 0: none
  };
  struct Held {  // a lease
    uint64_t worker = 0;
    std::deque<int64_t> units;  // not yet done, in the order of work
    std::vector<int64_t> skip;
    Micros granted = 0, deadline = 0, progress = 0;
  };
  struct Worker {
    double worked = 0, spent = 0;  // cost and seconds, older ones fading
    double last_cost = 0;          // of its last lease
  };

  int64_t Cost(int64_t unit) const { return cost_[static_cast<size_t>(unit)]; }
  double Budget(const Worker& worker) const;
  bool Barred(int64_t unit, uint64_t worker) const;
  Held* HoldOf(uint64_t worker, int64_t unit, uint64_t fence);  // null: none
  std::vector<int64_t> TakePending(uint64_t worker, double budget);
  std::vector<int64_t> TakeLate(uint64_t worker, double budget) const;
  Micros MedianHold() const;
  void MakePending(int64_t unit);
  void Unpend(int64_t unit);
  void Release(int64_t unit, uint64_t fence);  // this lease holds it no more
  void Charge(FailedUnit failure);
  void Judge(int64_t unit);  // back to pending, or set aside
  void EndLease(uint64_t fence, const char* blame);

  std::vector<int64_t> cost_;
  LeaseRules rules_;
  uint64_t next_fence_;
  std::vector<Unit> units_;
  std::set<int64_t> pending_;
  double pending_cost_ = 0;
  std::map<uint64_t, Held> leases_;  // by fence: oldest first
  std::map<uint64_t, Worker> workers_;
  std::map<int64_t, Trouble> troubles_;
  std::map<int64_t, uint32_t> begun_;  // steps that are saved, of units not done
  std::deque<Micros> holds_;           // from lease to result, the last ones
  int64_t done_ = 0, set_aside_ = 0;
  Micros clock_ = 0, seen_ = 0;
  bool started_ = false;
  News news_;
};

}  // namespace whyrec::cluster
