// A lease worker's state without sockets, threads or clock: its leases, and the messages to send.
// Time and messages are passed in as values. A result is kept until the coordinator acknowledges
// it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/lease/table.h"
#include "proto/wire.pb.h"

namespace whyrec::cluster {

struct Introduction {
  std::string token;
  std::string job;      // identity of the work
  uint64_t worker = 0;  // not 0; drawn once per worker
  std::string name;     // for people
};

class LeaseClient {
 public:
  struct Task {
    int64_t unit = 0;
    uint64_t fence = 0;
    std::shared_ptr<const wire::UnitPartial> begun = nullptr;  // by an earlier try; null: not
  };

  explicit LeaseClient(Introduction introduction) : introduction_(std::move(introduction)) {}

  // The first message on a new connection. Leases from the previous connection are lost, results
  // are sent again.
  wire::FromWorker Greet(Micros now);
  void Disconnected();
  void Receive(const wire::FromCoordinator& message, Micros now);
  // The message to send now; of zero bytes when there is none.
  wire::FromWorker Collect(Micros now);

  std::optional<Task> Next();  // the unit to work on; Finish or Abandon must follow
  // Partial result of the current unit. Replaces an earlier one that has not been sent yet.
  void Save(wire::UnitPartial partial);
  // What became of the last Save. kInVain: not stored, because the lease has ended or another
  // attempt is as far; the unit's result will still be accepted. kNeedless: the unit is done.
  enum class Saved { kWaiting, kKept, kInVain, kNeedless };
  Saved saved() const { return saved_; }
  void Abandon();  // there will be no result
  // `outcome` holds the result, file or failure, and the seconds.
  void Finish(const Task& task, wire::UnitOutcome outcome);
  void DropLeases() { queue_.clear(), leaving_ = true; }  // asks for no more

  bool connected() const { return welcome_; }
  const std::string& folder() const { return folder_; }
  const std::optional<wire::End::Reason>& end() const { return end_; }
  const std::string& refusal() const { return refusal_; }
  // All results and partial results have been acknowledged.
  bool answered() const { return held_.empty() && saved_ != Saved::kWaiting; }
  // Too many results are unacknowledged: wait before starting the next unit.
  bool full() const { return held_bytes_ > kMostBytes || held_.size() > kMostHeld; }

 private:
  static constexpr size_t kMostBytes = 16 << 20, kMostHeld = 20000;
  static constexpr size_t kMessageBytes = 1 << 20;
  static constexpr Micros kPatience = 30 * kSecond;  // for an answer on a standing connection
  using Key = std::pair<uint64_t, int64_t>;          // fence and unit

  struct Held {
    wire::UnitOutcome outcome;
    size_t bytes = 0;
    Micros sent = 0;
  };

  void Hear(const wire::Answer& answer);
  void CollectOutcomes(Micros now, wire::FromWorker& out);
  void CollectPartial(Micros now, wire::FromWorker& out);
  void CollectHeartbeat(Micros now, wire::FromWorker& out);

  Introduction introduction_;
  std::deque<Task> queue_;
  std::optional<Task> at_work_;
  wire::UnitPartial partial_;  // while saved_ is kWaiting
  Micros partial_sent_ = 0;    // 0: not yet
  Saved saved_ = Saved::kKept;
  std::map<Key, Held> held_;
  std::deque<Key> unsent_;
  size_t held_bytes_ = 0;
  std::set<uint64_t> seen_;  // fences of grants; a grant may come twice
  bool welcome_ = false, leaving_ = false;
  std::string folder_, refusal_;
  std::optional<wire::End::Reason> end_;
  Micros heartbeat_ = 20 * kSecond, beat_ = 0, wait_until_ = 0, look_again_ = 0;
  std::optional<Micros> asked_;
};

}  // namespace whyrec::cluster
