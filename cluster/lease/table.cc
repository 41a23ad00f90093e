#include "cluster/lease/table.h"

#include <algorithm>

#include "src/base/error.h"

namespace whyrec::cluster {
namespace {

constexpr size_t kHolds = 101;  // a window: towards the end leases are smaller
constexpr double kFade = 0.98;  // a worker's speed is that of its last 50 units or so
constexpr double kGrowth = 4;   // of a worker's lease over its last one, at most
constexpr double kLeastSeconds = 1e-7;

}  // namespace

LeaseTable::LeaseTable(std::vector<int64_t> cost, const LeaseRules& rules, uint64_t first_fence)
    : cost_(std::move(cost)), rules_(rules), next_fence_(first_fence), units_(cost_.size()) {
  WR_CHECK(first_fence > 0, "fence 0 means none");
  for (size_t unit = 0; unit < cost_.size(); ++unit) {
    cost_[unit] = std::max<int64_t>(1, cost_[unit]);
    MakePending(static_cast<int64_t>(unit));
  }
}

void LeaseTable::MakePending(int64_t unit) {
  units_[static_cast<size_t>(unit)].state = State::kPending;
  if (pending_.insert(unit).second) pending_cost_ += static_cast<double>(Cost(unit));
}

void LeaseTable::Unpend(int64_t unit) {
  if (pending_.erase(unit)) pending_cost_ -= static_cast<double>(Cost(unit));
}

void LeaseTable::RestoreDone(int64_t unit) {
  Unit& entry = units_.at(static_cast<size_t>(unit));
  WR_CHECK(entry.state != State::kDone, "unit ", unit, " is done twice");
  if (entry.state == State::kSetAside) --set_aside_;
  entry.state = State::kDone;
  ++done_;
  Unpend(unit);
  begun_.erase(unit);
}

void LeaseTable::RestoreBegun(int64_t unit, uint32_t step) { begun_[unit] = step; }

void LeaseTable::RestoreFailure(const FailedUnit& failure) {
  UnitFailures& trouble = failures_[failure.unit];
  ++trouble.attempts;
  if (!failure.lost) trouble.workers.insert(failure.worker);
  trouble.why = failure.why;
}

void LeaseTable::RestoreSetAside(int64_t unit) {
  Unit& entry = units_.at(static_cast<size_t>(unit));
  if (entry.state != State::kPending) return;
  entry.state = State::kSetAside;
  ++set_aside_;
  Unpend(unit);
}

void LeaseTable::Advance(Micros now) {
  if (started_) clock_ += std::clamp<Micros>(now - seen_, 0, rules_.ttl / 4);
  started_ = true;
  seen_ = now;
  std::vector<std::pair<uint64_t, const char*>> over;
  for (const auto& [fence, lease] : leases_) {
    if (lease.deadline < clock_) {
      over.emplace_back(fence, "its worker stopped responding");
    } else if (lease.progress + rules_.unit_limit < clock_) {
      over.emplace_back(fence, "its worker made no progress");
    }
  }
  for (const auto& [fence, why] : over) EndLease(fence, why);
}

// Cost of a lease for this worker. The first is one unit: nothing is known about its speed.
double LeaseTable::Budget(const Worker& worker) const {
  if (worker.spent <= 0) return 1;
  const double speed = worker.worked / std::max(worker.spent, kLeastSeconds);
  // Half of an equal share: whoever is slow then holds little when the others run dry.
  const double share =
      pending_cost_ / (2 * static_cast<double>(std::max<size_t>(1, workers_.size())));
  return std::min({speed * rules_.lease_seconds, kGrowth * worker.last_cost,
                   pending_.empty() ? speed * rules_.lease_seconds : share});
}

bool LeaseTable::Barred(int64_t unit, uint64_t worker) const {
  if (failures_.empty()) return false;
  const auto it = failures_.find(unit);
  return it != failures_.end() && it->second.workers.contains(worker) &&
         clock_ < it->second.barred_until;
}

std::vector<int64_t> LeaseTable::TakePending(uint64_t worker, double budget) {
  std::vector<int64_t> out;
  double cost = 0;
  int begun = 0;  // what they have goes into one message with the lease
  for (auto it = pending_.begin();
       it != pending_.end() && static_cast<int64_t>(out.size()) < rules_.most_units;) {
    const int64_t unit = *it++;
    if (Barred(unit, worker)) continue;
    if (begun_.contains(unit) && ++begun > 1) break;
    cost += static_cast<double>(Cost(unit));
    if (!out.empty() && cost > budget) break;
    out.push_back(unit);
    Unpend(unit);
  }
  return out;
}

Micros LeaseTable::MedianHold() const {
  if (holds_.empty()) return rules_.ttl / 4;
  std::vector<Micros> sorted(holds_.begin(), holds_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

// Half of what the holder of the oldest late lease has left, from its far end: if it is merely
// slow, the two meet in the middle.
std::vector<int64_t> LeaseTable::TakeLate(uint64_t worker, double budget) const {
  const Micros late = std::max(rules_.straggler_floor, 2 * MedianHold());
  for (const auto& [fence, lease] : leases_) {
    if (lease.worker == worker || clock_ - lease.granted <= late) continue;
    std::vector<int64_t> single;
    for (const int64_t unit : lease.units) {
      if (units_[static_cast<size_t>(unit)].fences[1] == 0 && !Barred(unit, worker))
        single.push_back(unit);
    }
    std::vector<int64_t> out;
    double cost = 0;
    int begun = 0;
    for (size_t i = single.size(); i > single.size() / 2; --i) {
      if (begun_.contains(single[i - 1]) && ++begun > 1) break;
      cost += static_cast<double>(Cost(single[i - 1]));
      if (!out.empty() && cost > budget) break;
      out.push_back(single[i - 1]);
    }
    if (!out.empty()) return out;
  }
  return {};
}

LeaseGrant LeaseTable::Lease(uint64_t worker) {
  Worker& asker = workers_[worker];
  const double budget = Budget(asker);
  LeaseGrant grant{.units = TakePending(worker, budget)};
  if (grant.units.empty()) grant.units = TakeLate(worker, budget);
  if (grant.units.empty()) return grant;

  grant.fence = next_fence_++;
  asker.last_cost = 0;
  for (const int64_t unit : grant.units) {
    Unit& entry = units_[static_cast<size_t>(unit)];
    entry.state = State::kLeased;
    entry.fences[entry.fences[0] != 0] = grant.fence;
    asker.last_cost += static_cast<double>(Cost(unit));
  }
  leases_[grant.fence] = {.worker = worker,
                          .units = {grant.units.begin(), grant.units.end()},
                          .granted = clock_,
                          .deadline = clock_ + rules_.ttl,
                          .progress = clock_};
  return grant;
}

LeaseTable::HeartbeatReply LeaseTable::Heartbeat(uint64_t worker,
                                                 const std::vector<uint64_t>& fences) {
  HeartbeatReply reply;
  for (const uint64_t fence : fences) {
    const auto it = leases_.find(fence);
    if (it == leases_.end() || it->second.worker != worker) {
      reply.ended.push_back(fence);
      continue;
    }
    it->second.deadline = clock_ + rules_.ttl;
    reply.skip.insert(reply.skip.end(), it->second.skip.begin(), it->second.skip.end());
    it->second.skip.clear();
  }
  return reply;
}

void LeaseTable::Release(int64_t unit, uint64_t fence) {
  Unit& entry = units_[static_cast<size_t>(unit)];
  if (entry.fences[1] == fence) entry.fences[1] = 0;
  if (entry.fences[0] == fence) entry.fences[0] = std::exchange(entry.fences[1], 0);
  const auto it = leases_.find(fence);
  if (it == leases_.end()) return;
  auto& units = it->second.units;
  units.erase(std::find(units.begin(), units.end(), unit));
  if (units.empty()) leases_.erase(it);
}

LeaseTable::Held* LeaseTable::HoldOf(uint64_t worker, int64_t unit, uint64_t fence) {
  const Unit& entry = units_.at(static_cast<size_t>(unit));
  if (fence == 0 || (entry.fences[0] != fence && entry.fences[1] != fence)) return nullptr;
  Held& lease = leases_.at(fence);
  return lease.worker == worker ? &lease : nullptr;
}

bool LeaseTable::Save(uint64_t worker, int64_t unit, uint64_t fence, uint32_t step) {
  Held* lease = HoldOf(worker, unit, fence);
  if (lease == nullptr) return false;
  lease->progress = clock_;
  lease->deadline = clock_ + rules_.ttl;
  uint32_t& known = begun_[unit];
  if (step <= known) return false;
  known = step;
  return true;
}

bool LeaseTable::Commit(uint64_t worker, int64_t unit, uint64_t fence, double seconds) {
  Unit& entry = units_.at(static_cast<size_t>(unit));
  if (entry.state == State::kDone) return false;
  if (entry.state == State::kSetAside) --set_aside_;
  entry.state = State::kDone;
  ++done_;
  Unpend(unit);
  begun_.erase(unit);

  if (const auto known = workers_.find(worker); known != workers_.end()) {
    Worker& by = known->second;
    by.worked = kFade * by.worked + static_cast<double>(Cost(unit));
    by.spent = kFade * by.spent + (seconds > kLeastSeconds ? seconds : kLeastSeconds);
  }
  for (const uint64_t holder : {entry.fences[0], entry.fences[1]}) {
    if (holder == 0) continue;
    Held& lease = leases_.at(holder);
    if (holder == fence && lease.worker == worker) {
      holds_.push_back(clock_ - lease.granted);
      if (holds_.size() > kHolds) holds_.pop_front();
      lease.progress = clock_;
      lease.deadline = clock_ + rules_.ttl;
    } else {
      lease.skip.push_back(unit);
    }
    Release(unit, holder);
  }
  return true;
}

void LeaseTable::Fail(uint64_t worker, int64_t unit, uint64_t fence, const std::string& why) {
  Held* lease = HoldOf(worker, unit, fence);
  if (lease == nullptr) return;
  lease->progress = clock_;
  Release(unit, fence);
  Charge({.unit = unit, .worker = worker, .lost = false, .why = why});
  Settle(unit);
}

void LeaseTable::Charge(FailedUnit failure) {
  RestoreFailure(failure);
  failures_[failure.unit].barred_until = clock_ + rules_.retry_after;
  news_.failures.push_back(std::move(failure));
}

void LeaseTable::Settle(int64_t unit) {
  Unit& entry = units_[static_cast<size_t>(unit)];
  if (entry.state != State::kLeased || entry.fences[0] != 0)
    return;  // another lease still holds it
  const auto it = failures_.find(unit);
  if (it == failures_.end() ||
      (it->second.attempts < rules_.attempts && std::ssize(it->second.workers) < rules_.workers)) {
    MakePending(unit);
    return;
  }
  entry.state = State::kSetAside;
  ++set_aside_;
  news_.set_aside.push_back(unit);
}

void LeaseTable::EndLease(uint64_t fence, const char* blame) {
  const Held lease = leases_.at(fence);
  leases_.erase(fence);
  if (blame != nullptr)
    Charge({.unit = lease.units.front(), .worker = lease.worker, .lost = true, .why = blame});
  for (const int64_t unit : lease.units) {
    Release(unit, fence);
    Settle(unit);
  }
}

void LeaseTable::Leave(uint64_t worker) {
  std::vector<uint64_t> fences;
  for (const auto& [fence, lease] : leases_)
    if (lease.worker == worker) fences.push_back(fence);
  for (const uint64_t fence : fences) EndLease(fence, nullptr);
  workers_.erase(worker);
}

void LeaseTable::Lose(uint64_t worker) {
  const auto first = std::find_if(leases_.begin(), leases_.end(),
                                  [&](const auto& it) { return it.second.worker == worker; });
  if (first != leases_.end()) EndLease(first->first, "its worker was lost");
  Leave(worker);
}

LeaseTable::News LeaseTable::TakeNews() { return std::exchange(news_, {}); }

}  // namespace whyrec::cluster
