// Which worker holds which unit: the lease rules as a pure state machine (docs/leases.md). Time is
// passed in; there are no sockets, threads, files or clocks here.
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
  Micros ttl = 120 * kSecond;          // a lease expires after this long without a heartbeat
  Micros unit_limit = 1800 * kSecond;  // and after this long without progress, despite heartbeats
  double lease_seconds = 7;            // estimated work in one lease
  int64_t most_units = 4096;           // in one lease
  int workers = 2;               // a unit that so many different workers failed on is set aside
  int attempts = 5;              // so is one after so many failed or lost attempts
  Micros retry_after = kSecond;  // before a worker gets a unit again that it failed on
  Micros straggler_floor = kSecond / 10;  // leases younger than this are never doubled
};

struct LeaseGrant {
  uint64_t fence = 0;
  std::vector<int64_t> units;  // empty: nothing to lease now
};

struct FailedUnit {
  int64_t unit = 0;
  uint64_t worker = 0;
  bool lost = false;  // the worker died or stopped responding; false: it reported the failure
  std::string why;
};

class LeaseTable {
 public:
  enum class State : uint8_t { kPending, kLeased, kDone, kSetAside };

  // Units 0..n-1 with their estimated costs (any unit; at least 1 is assumed). Fences rise from
  // `first_fence`, which must lie above those of earlier coordinators of the same work.
  LeaseTable(std::vector<int64_t> cost, const LeaseRules& rules, uint64_t first_fence);

  // Restores the state from the journal; only before the first lease.
  void RestoreDone(int64_t unit);
  void RestoreFailure(const FailedUnit& failure);
  void RestoreSetAside(int64_t unit);
  void RestoreBegun(int64_t unit, uint32_t step);

  // Sets the time and expires leases. A step back counts as none, and one of more than a quarter of
  // the TTL as a quarter: a coordinator that was suspended could not hear its workers' heartbeats.
  void Advance(Micros now);

  // Units for this worker: the lowest pending ones, as many as its speed and the remaining work
  // suggest; when none are pending, units that another worker has held unusually long. At most one
  // of them has a partial result.
  LeaseGrant Lease(uint64_t worker);

  struct HeartbeatReply {
    std::vector<uint64_t> ended;  // fences that are not, or no longer, leases of this worker
    std::vector<int64_t> skip;    // units of its leases that others have finished meanwhile
  };
  HeartbeatReply Heartbeat(uint64_t worker, const std::vector<uint64_t>& fences);

  // The worker has a partial result of a unit. False: it does not hold the unit, or another attempt
  // has got as far (`step`).
  bool Save(uint64_t worker, int64_t unit, uint64_t fence, uint32_t step);
  // The worker has a result, in time or late. False: the unit is already done; drop the result.
  bool Commit(uint64_t worker, int64_t unit, uint64_t fence, double seconds);
  // The worker reports a failure. Counts once per lease, and only while it holds the unit.
  void Fail(uint64_t worker, int64_t unit, uint64_t fence, const std::string& why);
  void Leave(uint64_t worker);  // frees its leases without counting an attempt
  // The worker died: frees its leases and counts a lost attempt for the unit it was working on (the
  // first unit of its first lease).
  void Lose(uint64_t worker);

  // What must be written to the journal, in order, since the last call.
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
  // A unit's failures so far, and the text of the last one.
  struct UnitFailures {
    int attempts = 0;
    std::set<uint64_t> workers;  // that said they failed
    Micros barred_until = 0;     // for these workers
    std::string why;
  };
  const std::map<int64_t, UnitFailures>& failures() const { return failures_; }

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
  void Settle(int64_t unit);  // back to pending, or set aside
  void EndLease(uint64_t fence, const char* blame);

  std::vector<int64_t> cost_;
  LeaseRules rules_;
  uint64_t next_fence_;
  std::vector<Unit> units_;
  std::set<int64_t> pending_;
  double pending_cost_ = 0;
  std::map<uint64_t, Held> leases_;  // by fence: oldest first
  std::map<uint64_t, Worker> workers_;
  std::map<int64_t, UnitFailures> failures_;
  std::map<int64_t, uint32_t> begun_;  // steps that are saved, of units not done
  std::deque<Micros> holds_;           // from lease to result, the last ones
  int64_t done_ = 0, set_aside_ = 0;
  Micros clock_ = 0, seen_ = 0;
  bool started_ = false;
  News news_;
};

}  // namespace whyrec::cluster
