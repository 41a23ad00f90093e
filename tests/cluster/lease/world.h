// A made-up world for leased work: the real LeaseService, Journal and LeaseClient over a disk that
// forgets, a network that delays, repeats, reorders and loses, processes that die and sleep, and a
// clock that jumps. All from one seed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "cluster/lease/client.h"
#include "cluster/lease/service.h"
#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::cluster {

struct PowerCut {};  // thrown out of the middle of a disk operation

// Content as a process sees it, and what a power cut certainly leaves.
struct Disk {
  std::string content, durable;
  int cut_after = -1;  // disk operations; -1: no cut

  void Operation() {
    if (cut_after >= 0 && cut_after-- == 0) throw PowerCut{};
  }
  // The machine stops: of what was not synced, any beginning stays, perhaps garbled.
  void Forget(Rng& rng) {
    if (!content.starts_with(durable)) {
      content = durable;  // a truncation that never reached the disk
      return;
    }
    const auto unsynced = static_cast<int64_t>(content.size() - durable.size());
    content.resize(durable.size() + static_cast<size_t>(rng.Between(0, unsynced)));
    for (size_t i = durable.size(); i < content.size() && rng.Below(3) == 0; ++i)
      content[durable.size() + rng.Below(content.size() - durable.size())] ^= 0x41;
    durable = content;
  }
};

class SimulatedFile final : public JournalFile {
 public:
  SimulatedFile(Disk& disk, Rng& rng) : disk_(disk), rng_(rng) {}
  std::string name() const override { return "simulated journal"; }
  uint64_t Size() override { return disk_.content.size(); }
  std::string Read(uint64_t offset, size_t n) override {
    return offset < disk_.content.size() ? disk_.content.substr(offset, n) : "";
  }
  void Append(std::string_view bytes) override {
    try {
      disk_.Operation();
    } catch (const PowerCut&) {
      disk_.content += bytes.substr(0, rng_.Below(bytes.size() + 1));
      throw;
    }
    disk_.content += bytes;
  }
  void Sync() override {
    disk_.Operation();
    disk_.durable = disk_.content;
    disk_.Operation();
  }
  void Truncate(uint64_t size) override {
    disk_.Operation();
    disk_.content.resize(size);
  }

 private:
  Disk& disk_;
  Rng& rng_;
};

enum class Kind : uint8_t { kSound, kFlaky, kPoison, kKiller };

class World {
 public:
  explicit World(uint64_t seed);

  void Run();  // throws Error when a rule is broken

  struct Tally {
    int64_t done = 0, set_aside = 0, kills = 0, cuts = 0, repeats = 0, late = 0;
    int64_t levels = 0, continued = 0, in_vain = 0, needless = 0;  // saved units
  };
  const Tally& tally() const { return tally_; }

 private:
  struct Worker {
    std::optional<LeaseClient> client;  // none: dead
    uint64_t number = 0, session = 0, life = 0;
    bool asleep = false, busy = false, leaving = false;
  };
  struct Event {
    Micros time;
    uint64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::pair(other.time, other.order) < std::pair(time, order);
    }
  };

  void At(Micros delay, std::function<void()> action) {
    events_.push({now_ + delay, order_++, std::move(action)});
  }
  bool Chance(double p) { return rng_.Uniform() < p; }
  Micros Some(Micros most) { return rng_.Between(0, most); }

  void StartCoordinator();
  void StopCoordinator(bool power);
  void Coordinate(const std::function<LeaseService::Replies()>& step);
  void SyncSoon();
  void Tick();
  void StartWorker(size_t i);
  void Kill(size_t i);
  void Step(size_t i, uint64_t life);
  void Connect(size_t i);
  void Disconnect(size_t i, bool told);
  void Work(size_t i, uint64_t life);
  void Level(size_t i, uint64_t life, LeaseClient::Task task, uint32_t done);
  void AwaitSave(size_t i, uint64_t life, LeaseClient::Task task, uint32_t done);
  void FinishUnit(size_t i, uint64_t life, LeaseClient::Task task);
  uint32_t LevelsIn(const wire::UnitPartial& partial, int64_t unit) const;
  void CheckGrant(const wire::Grant& grant) const;
  void ToCoordinator(size_t i, const wire::FromWorker& message);
  void ToWorker(uint64_t session, const wire::FromCoordinator& message);
  void Fault();
  void CheckAcknowledged() const;
  void CheckEnd();
  // Of a unit that has done so many levels.
  std::string PartOf(int64_t unit, uint32_t done) const {
    return Cat(done, " levels of ", unit, " in ", seed_);
  }
  std::string ResultOf(int64_t unit) const { return Cat("result of ", unit, " in ", seed_); }

  uint64_t seed_;
  Rng rng_;
  Micros now_ = 0, clock_error_ = 0;  // the latter: of the coordinator's clock
  uint64_t order_ = 0, next_session_ = 1, next_number_ = 1, next_life_ = 1;
  std::priority_queue<Event> events_;
  Disk disk_;
  std::optional<LeaseService> service_;
  uint64_t coordinator_life_ = 0;
  bool sync_waits_ = false;
  std::vector<Worker> workers_;
  std::vector<int64_t> cost_;
  std::vector<Kind> kinds_;
  std::vector<Micros> durations_;  // of one level
  std::vector<uint32_t> levels_;   // a unit is saved between them
  std::vector<uint32_t> acknowledged_levels_;
  std::vector<int> tries_;
  std::vector<std::set<uint64_t>> failed_on_;
  std::set<int64_t> acknowledged_;
  std::set<uint64_t> fences_;
  LeaseRules rules_;
  double loss_ = 0, repeat_ = 0;
  Micros delay_ = 0;
  bool patient_ = true;  // workers wait until what they save is acknowledged
  int faults_ = 0, disturbances_ = 0;
  Tally tally_;
};

}  // namespace whyrec::cluster
