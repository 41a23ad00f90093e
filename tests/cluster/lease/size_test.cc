// How much work a lease holds, on a made-up clock: workers of known speed against the real service
// and client. Compared with the rule, 5 to 10 s of each worker's own work.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/cluster/lease/world.h"

namespace whyrec::cluster {
namespace {

constexpr int64_t kUnits = 20'000;

// A worker that needs `micros` for a unit of cost 1.
struct Worker {
  explicit Worker(uint64_t number, Micros micros)
      : number(number), micros(micros), client({.token = "t", .job = "j", .worker = number}) {}

  uint64_t number;
  Micros micros, free_at = 0;
  LeaseClient client;
  std::vector<double> leases;  // seconds of work in each, while much was pending
  std::vector<int> units;      // of these leases
};

class Office {
 public:
  explicit Office(std::vector<Micros> speeds) {
    std::vector<int64_t> cost;
    for (int64_t unit = 0; unit < kUnits; ++unit) cost.push_back(1 + unit % 7);
    cost_ = cost;
    service_.emplace(
        ServiceSettings{.job = "j", .cost = cost, .token = "t", .folder = "/nowhere", .rules = {}},
        std::make_unique<SimulatedFile>(disk_, rng_));
    for (const Micros micros : speeds) workers_.emplace_back(workers_.size() + 1, micros);
    for (Worker& worker : workers_) Say(worker, worker.client.Greet(0), 0);
  }

  // The worker that is free first does its next unit, until all is done.
  void Run() {
    while (!service_->finished()) {
      Worker& worker =
          *std::min_element(workers_.begin(), workers_.end(),
                            [](const Worker& a, const Worker& b) { return a.free_at < b.free_at; });
      const Micros now = worker.free_at;
      const auto task = worker.client.Next();
      if (!task) {
        Say(worker, worker.client.Collect(now), now);
        worker.free_at += kSecond / 100;
        continue;
      }
      const Micros took = worker.micros * cost_[static_cast<size_t>(task->unit)];
      worker.free_at += took;
      wire::UnitOutcome outcome;
      outcome.set_result("r");
      outcome.set_seconds(static_cast<double>(took) / kSecond);
      worker.client.Finish(*task, outcome);
      Say(worker, worker.client.Collect(worker.free_at), worker.free_at);
    }
  }

  const std::vector<Worker>& workers() const { return workers_; }

 private:
  void Say(Worker& worker, const wire::FromWorker& message, Micros now) {
    for (const auto& reply : service_->Receive(worker.number, message, now)) Hear(reply, now);
    for (const auto& reply : service_->Sync()) Hear(reply, now);
  }
  void Hear(const LeaseService::Reply& reply, Micros now) {
    Worker& to = workers_[reply.session - 1];
    to.client.Receive(reply.message, now);
    const auto& units = reply.message.grant().unit();
    // Towards the end leases shrink on purpose.
    if (units.empty() || service_->table().done() > kUnits / 4) return;
    double seconds = 0;
    for (const int64_t unit : units)
      seconds += static_cast<double>(to.micros * cost_[static_cast<size_t>(unit)]) / kSecond;
    to.leases.push_back(seconds);
    to.units.push_back(units.size());
  }

  Rng rng_{1, "office"};
  Disk disk_;
  std::vector<int64_t> cost_;
  std::optional<LeaseService> service_;
  std::vector<Worker> workers_;
};

TEST(LeaseSize, FiveToTenSecondsForFastAndSlow) {
  // A card with 500 units of cost 1 a second, one with 100, a laptop with 2.
  Office office({2'000, 10'000, 500'000});
  office.Run();
  for (const Worker& worker : office.workers()) {
    ASSERT_GE(worker.leases.size(), 4u) << worker.micros;
    EXPECT_LT(worker.leases[0], 5) << "the first is one unit: nothing is known";
    size_t warm = 0;  // each at most fourfold the one before
    while (warm < worker.leases.size() && worker.leases[warm] < 5) ++warm;
    EXPECT_LE(warm, 6u) << worker.micros;
    ASSERT_LT(warm, worker.leases.size()) << worker.micros;
    for (size_t i = warm; i < worker.leases.size(); ++i) {
      EXPECT_GE(worker.leases[i], 5) << worker.micros << " lease " << i;
      EXPECT_LE(worker.leases[i], 10) << worker.micros << " lease " << i;
    }
  }
}

TEST(LeaseSize, UnitsLongerThanThatAreLeasedOneByOne) {
  Office office({30 * kSecond, 30 * kSecond});
  office.Run();
  for (const Worker& worker : office.workers()) {
    ASSERT_FALSE(worker.units.empty());
    for (const int units : worker.units) EXPECT_EQ(units, 1);
  }
}

}  // namespace
}  // namespace whyrec::cluster
