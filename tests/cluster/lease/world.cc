#include "tests/cluster/lease/world.h"

#include <algorithm>

namespace whyrec::cluster {
namespace {

constexpr Micros kMs = 1000;
constexpr Micros kLongestRun = 4 * 3600 * kSecond;
constexpr char kToken[] = "token", kJob[] = "job";

ServiceSettings SettingsOf(const std::vector<int64_t>& cost, const LeaseRules& rules) {
  return {.job = kJob, .cost = cost, .token = kToken, .folder = "/nowhere", .rules = rules};
}

}  // namespace

World::World(uint64_t seed) : seed_(seed), rng_(seed, "world") {
  const auto units = static_cast<size_t>(rng_.Between(1, 14));
  const bool troubled = Chance(0.4);
  for (size_t unit = 0; unit < units; ++unit) {
    cost_.push_back(rng_.Between(1, 40));
    levels_.push_back(Chance(0.5) ? 1 : static_cast<uint32_t>(rng_.Between(2, 5)));
    durations_.push_back(cost_.back() * rng_.Between(1, 10) * kMs / levels_.back());
    const double draw = rng_.Uniform();
    kinds_.push_back(!troubled     ? Kind::kSound
                     : draw < 0.1  ? Kind::kPoison
                     : draw < 0.15 ? Kind::kKiller
                     : draw < 0.3  ? Kind::kFlaky
                                   : Kind::kSound);
  }
  tries_.resize(units);
  acknowledged_levels_.resize(units);
  failed_on_.resize(units);
  rules_ = {.ttl = 2 * kSecond,
            .unit_limit = 20 * kSecond,
            .lease_seconds = 0.5,
            .retry_after = 200 * kMs,
            .straggler_floor = 50 * kMs};
  delay_ = Chance(0.5) ? 5 * kMs : 800 * kMs;
  loss_ = Chance(0.25) ? 0.05 : 0;
  repeat_ = Chance(0.4) ? 0.2 : 0;
  patient_ = Chance(0.7);
  faults_ = static_cast<int>(rng_.Between(0, 10));
  workers_.resize(static_cast<size_t>(rng_.Between(1, 4)));
  StartCoordinator();
  for (size_t i = 0; i < workers_.size(); ++i) At(Some(kSecond), [this, i] { StartWorker(i); });
  for (int i = 0; i < faults_; ++i) At(Some(8 * kSecond), [this] { Fault(); });
  Tick();
}

void World::StartCoordinator() {
  try {
    service_.emplace(SettingsOf(cost_, rules_), std::make_unique<SimulatedFile>(disk_, rng_));
  } catch (const PowerCut&) {
    StopCoordinator(true);
    return;
  }
  coordinator_life_ = next_life_++;
  sync_waits_ = false;
  CheckAcknowledged();
}

// A power cut also forgets; a killed process leaves what it wrote.
void World::StopCoordinator(bool power) {
  ++tally_.cuts;
  disk_.cut_after = -1;
  service_.reset();
  if (power) disk_.Forget(rng_);
  for (Worker& worker : workers_) {
    if (!worker.client || worker.session == 0) continue;
    worker.client->Disconnected();
    worker.session = 0;
  }
  if (Chance(0.3)) disk_.cut_after = static_cast<int>(rng_.Between(0, 4));  // in the next life
  At(Some(3 * kSecond), [this] { StartCoordinator(); });
}

// Whatever the coordinator does may be its last.
void World::Coordinate(const std::function<LeaseService::Replies()>& step) {
  if (!service_) return;
  try {
    for (const auto& reply : step()) {
      WR_CHECK(!reply.message.has_grant() || fences_.insert(reply.message.grant().fence()).second,
               "fence ", reply.message.grant().fence(), " was given twice");
      CheckGrant(reply.message.grant());
      if (reply.message.ByteSizeLong() > 0) ToWorker(reply.session, reply.message);
      if (reply.close)
        for (size_t i = 0; i < workers_.size(); ++i)
          if (workers_[i].session == reply.session) Disconnect(i, true);
    }
    SyncSoon();
  } catch (const PowerCut&) {
    StopCoordinator(true);
  }
}

void World::SyncSoon() {
  const bool last = service_ && service_->table().finished();
  if (!service_ || sync_waits_ || (!service_->gathered() && !last)) return;
  sync_waits_ = true;
  At(20 * kMs, [this, life = coordinator_life_] {
    if (!service_ || life != coordinator_life_) return;
    sync_waits_ = false;
    const bool more = service_->gathered();
    Coordinate([&] { return service_->Sync(); });
    if (!more) sync_waits_ = true;  // all is said
  });
}

void World::Tick() {
  Coordinate([&] {
    service_->Tick(now_ + clock_error_);
    return LeaseService::Replies();
  });
  At(100 * kMs, [this] { Tick(); });
}

void World::StartWorker(size_t i) {
  Worker& worker = workers_[i];
  worker = {.number = next_number_++, .life = next_life_++};
  worker.client.emplace(
      Introduction{.token = kToken, .job = kJob, .worker = worker.number, .name = "simulated"});
  Step(i, worker.life);
}

void World::Kill(size_t i) {
  if (!workers_[i].client) return;
  ++tally_.kills;
  ++disturbances_;
  Disconnect(i, Chance(0.7));  // else the cable went with it
  workers_[i].client.reset();
  workers_[i].life = 0;
  At(Some(3 * kSecond), [this, i] { StartWorker(i); });
}

void World::Connect(size_t i) {
  Worker& worker = workers_[i];
  if (!service_ || worker.session != 0) return;
  worker.session = next_session_++;
  ToCoordinator(i, worker.client->Greet(now_));
}

void World::Disconnect(size_t i, bool told) {
  const uint64_t session = std::exchange(workers_[i].session, 0);
  workers_[i].client->Disconnected();
  if (session == 0 || !told) return;
  At(Some(delay_), [this, session, life = coordinator_life_] {
    if (life != coordinator_life_) return;
    Coordinate([&] {
      service_->Lost(session, now_ + clock_error_);
      return LeaseService::Replies();
    });
  });
}

// A worker's threads: says what there is to say, and begins the next unit.
void World::Step(size_t i, uint64_t life) {
  Worker& worker = workers_[i];
  if (worker.life != life) return;
  if (!worker.asleep) {
    Connect(i);
    if (worker.session != 0) {
      const wire::FromWorker message = worker.client->Collect(now_);
      if (message.ByteSizeLong() > 0) ToCoordinator(i, message);
    }
    if (worker.leaving && worker.client->answered() && worker.session != 0) {
      wire::FromWorker goodbye;
      goodbye.set_leave(true);
      ToCoordinator(i, goodbye);
      worker.session = 0;
      worker.client.reset();
      worker.life = 0;
      At(Some(3 * kSecond), [this, i] { StartWorker(i); });
      return;
    }
    Work(i, life);
  }
  At(rng_.Between(20, 60) * kMs, [this, i, life] { Step(i, life); });
}

void World::Work(size_t i, uint64_t life) {
  Worker& worker = workers_[i];
  if (worker.busy) return;
  const auto task = worker.client->Next();
  if (!task) return;
  worker.busy = true;
  uint32_t done = 0;
  if (task->begun) {
    done = LevelsIn(*task->begun, task->unit);
    ++tally_.continued;
  }
  Level(i, life, *task, done);
}

uint32_t World::LevelsIn(const wire::UnitPartial& partial, int64_t unit) const {
  WR_CHECK(partial.unit() == unit && partial.content() == PartOf(unit, partial.step()), "unit ",
           unit, " would go on from: ", partial.content());
  return partial.step();  // every level is saved, so it counts them
}

// Whoever works next begins where the last acknowledged one was, or further.
void World::CheckGrant(const wire::Grant& grant) const {
  std::map<int64_t, uint32_t> begun;
  for (const auto& partial : grant.begun())
    begun[partial.unit()] = LevelsIn(partial, partial.unit());
  WR_CHECK(begun.size() <= 1, begun.size(), " begun units in a lease");
  for (const int64_t unit : grant.unit())
    WR_CHECK(begun[unit] >= acknowledged_levels_[static_cast<size_t>(unit)], "unit ", unit, " has ",
             acknowledged_levels_[static_cast<size_t>(unit)], " levels, and is leased with ",
             begun[unit]);
}

// The next one, after `done`.
void World::Level(size_t i, uint64_t life, LeaseClient::Task task, uint32_t done) {
  const auto unit = static_cast<size_t>(task.unit);
  const Micros time = durations_[unit] * (Chance(0.05) ? 20 : 1);
  At(time, [this, i, life, task, done, last = done + 1 == levels_[unit]] {
    Worker& worker = workers_[i];
    if (last || worker.life != life) return FinishUnit(i, life, task);
    wire::UnitPartial partial;
    partial.set_unit(task.unit);
    partial.set_fence(task.fence);
    partial.set_step(done + 1);
    partial.set_content(PartOf(task.unit, done + 1));
    worker.client->Save(std::move(partial));
    ++tally_.levels;
    AwaitSave(i, life, task, done + 1);
  });
}

void World::AwaitSave(size_t i, uint64_t life, LeaseClient::Task task, uint32_t done) {
  Worker& worker = workers_[i];
  if (worker.life != life) return;
  using Saved = LeaseClient::Saved;
  const Saved saved = worker.client->saved();
  if (worker.asleep || (saved == Saved::kWaiting && patient_)) {
    At(20 * kMs, [this, i, life, task, done] { AwaitSave(i, life, task, done); });
    return;
  }
  tally_.in_vain += saved == Saved::kInVain;
  if (saved != Saved::kNeedless) return Level(i, life, task, done);
  ++tally_.needless;
  worker.busy = false;
  worker.client->Abandon();
  Work(i, life);
}

void World::FinishUnit(size_t i, uint64_t life, LeaseClient::Task task) {
  Worker& worker = workers_[i];
  if (worker.life != life) return;
  if (worker.asleep) {  // goes on when it wakes
    At(100 * kMs, [this, i, life, task] { FinishUnit(i, life, task); });
    return;
  }
  worker.busy = false;
  const auto unit = static_cast<size_t>(task.unit);
  const Kind kind = kinds_[unit];
  if (kind == Kind::kKiller) return Kill(i);
  wire::UnitOutcome outcome;
  outcome.set_seconds(static_cast<double>(durations_[unit]) / kSecond);
  if (kind == Kind::kPoison || (kind == Kind::kFlaky && tries_[unit] == 0)) {
    failed_on_[unit].insert(worker.number);
    outcome.set_failure("poison");
  } else {
    outcome.set_result(ResultOf(task.unit));
  }
  ++tries_[unit];
  worker.client->Finish(task, outcome);
  Work(i, life);
}

void World::ToCoordinator(size_t i, const wire::FromWorker& message) {
  const uint64_t session = workers_[i].session;
  // A lost Hello would be a connection that never was: TCP gives an error for that.
  const bool hello = message.has_hello();
  const int copies = !hello && Chance(loss_) ? 0 : !hello && Chance(repeat_) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    At(hello ? 0 : 1 + Some(delay_), [this, session, message, life = coordinator_life_] {
      if (life != coordinator_life_) return;
      Coordinate([&] {
        if (!message.has_hello() && !service_->knows(session)) return LeaseService::Replies();
        return service_->Receive(session, message, now_ + clock_error_);
      });
    });
  }
  tally_.repeats += copies == 2;
}

void World::ToWorker(uint64_t session, const wire::FromCoordinator& message) {
  const int copies = message.has_welcome() ? 1 : Chance(loss_) ? 0 : Chance(repeat_) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    At(1 + Some(delay_), [this, session, message] {
      for (Worker& worker : workers_) {
        if (!worker.client || worker.session != session) continue;
        WR_CHECK(!message.has_refusal(), message.refusal());
        worker.client->Receive(message, now_);
        for (const auto& answer : message.answer()) {
          if (answer.has_step()) {
            uint32_t& known = acknowledged_levels_[static_cast<size_t>(answer.unit())];
            if (answer.status() == wire::Answer::ACCEPTED) known = std::max(known, answer.step());
            continue;
          }
          if (answer.status() == wire::Answer::ACCEPTED ||
              answer.status() == wire::Answer::ALREADY_DONE)
            acknowledged_.insert(answer.unit());
          tally_.late += answer.status() == wire::Answer::ALREADY_DONE;
        }
      }
    });
  }
}

void World::Fault() {
  const size_t i = rng_.Below(workers_.size());
  Worker& worker = workers_[i];
  switch (rng_.Below(8)) {
    case 0:
    case 1:
      return Kill(i);
    case 2: {  // SIGSTOP and SIGCONT
      worker.asleep = true;
      ++disturbances_;
      At(Some(10 * kSecond), [this, i] { workers_[i].asleep = false; });
      return;
    }
    case 3:
      if (worker.client) Disconnect(i, true), ++disturbances_;
      return;
    case 4:
      if (worker.client) worker.client->DropLeases(), worker.leaving = true;
      return;
    case 5:  // in the middle of one of the next disk operations
      if (service_) disk_.cut_after = static_cast<int>(rng_.Between(0, 8));
      return;
    case 6:
      if (service_) StopCoordinator(Chance(0.5));
      return;
    default:
      clock_error_ += Chance(0.5) ? Some(3600 * kSecond) : -Some(3600 * kSecond);
      return;
  }
}

void World::CheckAcknowledged() const {
  for (const int64_t unit : acknowledged_)
    WR_CHECK(service_->table().state(unit) == LeaseTable::State::kDone, "unit ", unit,
             " was acknowledged and is lost");
  for (size_t unit = 0; unit < acknowledged_levels_.size(); ++unit) {
    const auto* begun = service_->Begun(static_cast<int64_t>(unit));
    const bool done =
        service_->table().state(static_cast<int64_t>(unit)) == LeaseTable::State::kDone;
    WR_CHECK(!done || begun == nullptr, "unit ", unit, " is done and still kept as begun");
    WR_CHECK(done || (begun != nullptr ? begun->step() : 0) >= acknowledged_levels_[unit], "unit ",
             unit, ": ", acknowledged_levels_[unit], " acknowledged levels are lost");
  }
}

void World::Run() {
  // Ends when all is on the disk and every living worker knows it.
  const auto over = [&] {
    return service_ && service_->finished() &&
           std::all_of(workers_.begin(), workers_.end(),
                       [](const Worker& w) { return w.client && w.client->end(); });
  };
  // Messages that say the end may be lost; a worker asks again and is told again.
  for (; !over(); events_.pop()) {
    WR_CHECK(!events_.empty() && events_.top().time < kLongestRun,
             "the work does not end: ", service_ ? service_->table().done() : -1, " of ",
             cost_.size(), " done");
    now_ = events_.top().time;
    const auto action = events_.top().action;
    action();
  }
  CheckEnd();
}

void World::CheckEnd() {
  CheckAcknowledged();
  const LeaseTable& table = service_->table();
  for (int64_t unit = 0; unit < table.size(); ++unit) {
    const Kind kind = kinds_[static_cast<size_t>(unit)];
    if (table.state(unit) == LeaseTable::State::kDone) {
      WR_CHECK(kind == Kind::kSound || kind == Kind::kFlaky, "unit ", unit, " cannot be done");
      WR_CHECK(service_->Result(unit) == ResultOf(unit), service_->Result(unit));
      ++tally_.done;
      continue;
    }
    WR_CHECK(table.state(unit) == LeaseTable::State::kSetAside, "unit ", unit, " was forgotten");
    const auto& trouble = table.failures().at(unit);
    WR_CHECK(trouble.attempts >= rules_.attempts || std::ssize(trouble.workers) >= rules_.workers,
             "unit ", unit, " set aside after ", trouble.attempts);
    for (const uint64_t worker : trouble.workers)
      WR_CHECK(failed_on_[static_cast<size_t>(unit)].contains(worker), "unit ", unit,
               " never failed on worker ", worker);
    ++tally_.set_aside;
  }
  WR_CHECK(table.leases() == 0, table.leases());
  // What the next start would find: each result exactly once.
  std::vector<int> times(cost_.size());
  const std::string stands = disk_.durable;
  Disk copy{.content = stands, .durable = stands};
  LeaseService again(SettingsOf(cost_, rules_), std::make_unique<SimulatedFile>(copy, rng_));
  WR_CHECK(again.torn_bytes() == 0, again.torn_bytes());
  WR_CHECK(again.table().done() == tally_.done && again.table().set_aside() == tally_.set_aside,
           again.table().done(), " and ", again.table().set_aside(), " after a restart");
}

}  // namespace whyrec::cluster
