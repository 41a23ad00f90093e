#include "cluster/lease/service.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstdio>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/text_file.h"

namespace whyrec::cluster {
namespace fs = std::filesystem;
namespace {

constexpr uint32_t kJournalVersion = 1;
constexpr uint32_t kIdleMs = 50;   // until a worker without work asks again
constexpr int kFencesOfLife = 40;  // bits: every life of the coordinator has its own fences

// In constant time, whatever the lengths.
bool SameSecret(const std::string& a, const std::string& b) {
  const std::string x = Sha256Of(a), y = Sha256Of(b);
  return CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

wire::JournalHeader HeaderOf(const ServiceSettings& settings) {
  wire::JournalHeader header;
  header.set_version(kJournalVersion);
  header.set_job(settings.job);
  header.set_units(std::ssize(settings.cost));
  std::string costs;
  for (const int64_t cost : settings.cost) costs += Cat(cost, ",");
  header.set_costs(Sha256Of(costs));
  return header;
}

}  // namespace

std::string ResultFileName(int64_t unit, uint64_t fence) {
  char name[64];
  std::snprintf(name, sizeof name, "result-%08lld-%llx", static_cast<long long>(unit),
                static_cast<unsigned long long>(fence));
  return name;
}

std::string PartialFileName(int64_t unit, uint64_t fence, uint32_t step) {
  char name[64];
  std::snprintf(name, sizeof name, "partial-%08lld-%llx-%u", static_cast<long long>(unit),
                static_cast<unsigned long long>(fence), step);
  return name;
}

LeaseService::LeaseService(ServiceSettings settings, std::unique_ptr<JournalFile> file)
    : settings_(std::move(settings)), offset_(settings_.cost.size(), 0) {
  // The table's fences depend on the last life, so what it must know is replayed after the reading.
  journal_ = std::make_unique<Journal>(
      std::move(file), HeaderOf(settings_),
      [&](const wire::JournalRecord& record, uint64_t offset) { Replay(record, offset); });
  ++life_;
  table_ = std::make_unique<LeaseTable>(settings_.cost, settings_.rules, life_ << kFencesOfLife);
  for (const auto& record : failures_to_replay_) {
    if (record.has_failure()) {
      const auto& failure = record.failure();
      table_->RestoreFailure({failure.unit(), failure.worker(), failure.lost(), failure.why()});
    } else {
      table_->RestoreSetAside(record.set_aside());
    }
  }
  failures_to_replay_.clear();
  for (size_t unit = 0; unit < offset_.size(); ++unit)
    if (offset_[unit] != 0) table_->RestoreDone(static_cast<int64_t>(unit));
  for (const auto& [unit, partial] : begun_) table_->RestoreBegun(unit, partial.step());
  wire::JournalRecord record;
  record.set_life(life_);
  journal_->Append(record);
  journal_->Sync();
}

void LeaseService::Replay(const wire::JournalRecord& record, uint64_t offset) {
  auto check = [&](int64_t unit) {
    if (unit < 0 || unit >= std::ssize(offset_))
      Fail(Exit::kData, "the journal names unit ", unit, " of ", offset_.size());
  };
  if (record.has_life()) life_ = std::max(life_, record.life());
  if (record.has_failure()) check(record.failure().unit());
  if (record.has_set_aside()) check(record.set_aside());
  if (record.has_failure() || record.has_set_aside()) failures_to_replay_.push_back(record);
  if (record.has_partial()) {
    check(record.partial().unit());
    begun_[record.partial().unit()] = record.partial();
  }
  if (!record.has_done()) return;
  check(record.done().unit());
  uint64_t& known = offset_[static_cast<size_t>(record.done().unit())];
  WR_CHECK(known == 0, "the journal has unit ", record.done().unit(), " twice");
  known = offset;
  begun_.erase(record.done().unit());
}

std::string LeaseService::WhyRefused(const wire::Hello& hello) const {
  // The token is checked first, and a stranger learns nothing about other differences.
  if (!SameSecret(hello.token(), settings_.token)) return "wrong token";
  if (hello.version() != kWireVersion)
    return Cat("protocol version ", hello.version(), ", the coordinator speaks ", kWireVersion,
               ": start the same program on all machines");
  if (hello.job() != settings_.job)
    return Cat("other work: the worker is for ", hello.job(), ", the coordinator ", settings_.job);
  if (hello.worker() == 0) return "a worker needs a number";
  return "";
}

void LeaseService::Greet(uint64_t session, const wire::Hello& hello, Replies& out) {
  Reply reply{.session = session};
  if (const std::string why = WhyRefused(hello); !why.empty()) {
    reply.message.set_refusal(why);
    reply.close = true;
    out.push_back(reply);
    return;
  }
  // The same worker again: its former connection is dead, whether we know it or not.
  std::erase_if(workers_, [&](const auto& other) {
    if (other.second != hello.worker() || other.first == session) return false;
    table_->Leave(hello.worker());
    out.push_back({.session = other.first, .close = true});
    return true;
  });
  workers_[session] = hello.worker();
  auto& welcome = *reply.message.mutable_welcome();
  welcome.set_heartbeat_ms(
      static_cast<uint32_t>(std::max<Micros>(1, settings_.rules.ttl / 6 / 1000)));
  welcome.set_folder(settings_.folder.string());
  if (told_end_) reply.message.mutable_end()->set_reason(reason_);
  out.push_back(reply);
}

LeaseService::Replies LeaseService::Receive(uint64_t session, const wire::FromWorker& message,
                                            Micros now) {
  Replies out;
  table_->Advance(now);
  if (message.has_hello()) Greet(session, message.hello(), out);
  const auto it = workers_.find(session);
  if (it == workers_.end()) {
    WriteNews();
    if (!message.has_hello()) {
      out.push_back({.session = session, .close = true});
      out.back().message.set_refusal("the first message must be a Hello");
    }
    return out;
  }
  const uint64_t worker = it->second;
  for (const auto& outcome : message.outcome()) Take(session, worker, outcome);
  for (const auto& partial : message.partial()) Keep(session, worker, partial);

  Reply reply{.session = session};
  if (message.heartbeat_size() > 0) {
    const auto pulse =
        table_->Heartbeat(worker, {message.heartbeat().begin(), message.heartbeat().end()});
    reply.message.mutable_ended_lease()->Add(pulse.ended.begin(), pulse.ended.end());
    reply.message.mutable_skip()->Add(pulse.skip.begin(), pulse.skip.end());
  }
  if (message.leave()) {
    table_->Leave(worker);
    workers_.erase(it);
    reply.close = true;
  } else if (message.want() && draining_) {
    reply.message.mutable_end()->set_reason(reason_);
  } else if (message.want()) {
    const LeaseGrant grant = table_->Lease(worker);
    if (grant.units.empty()) {
      reply.message.set_wait_ms(kIdleMs);
    } else {
      reply.message.mutable_grant()->set_fence(grant.fence);
      reply.message.mutable_grant()->mutable_unit()->Add(grant.units.begin(), grant.units.end());
      for (const int64_t unit : grant.units)
        if (const auto* begun = Begun(unit)) *reply.message.mutable_grant()->add_begun() = *begun;
    }
  }
  WriteNews();
  if (reply.close || reply.message.ByteSizeLong() > 0) out.push_back(std::move(reply));
  return out;
}

// "" when the file is what the message says.
std::string LeaseService::FileProblem(const std::string& name, const wire::ResultFile& file) const {
  if (file.name() != name) return "a result file must not be called " + file.name();
  const fs::path path = settings_.folder / file.name();
  std::error_code absent;
  const auto bytes = fs::file_size(path, absent);
  if (absent) return path.string() + " is not there; workers must share the coordinator's folder";
  if (bytes != file.bytes())
    return Cat(path.string(), " has ", bytes, " bytes; the worker wrote ", file.bytes());
  if (Sha256OfFile(path) != file.sha256()) return path.string() + " differs from what was written";
  return "";
}

void LeaseService::Take(uint64_t session, uint64_t worker, const wire::UnitOutcome& outcome) {
  const int64_t unit = outcome.unit();
  wire::Answer answer;
  answer.set_unit(unit);
  answer.set_fence(outcome.fence());
  std::string problem;
  if (unit < 0 || unit >= table_->size()) {
    problem = Cat("there is no unit ", unit);
  } else if (outcome.has_failure()) {
    table_->Fail(worker, unit, outcome.fence(), outcome.failure());
    answer.set_status(wire::Answer::FAILURE_NOTED);
  } else if (table_->state(unit) == LeaseTable::State::kDone) {
    answer.set_status(wire::Answer::ALREADY_DONE);
  } else if (outcome.has_file() &&
             !(problem = FileProblem(ResultFileName(unit, outcome.fence()), outcome.file()))
                  .empty()) {
    table_->Fail(worker, unit, outcome.fence(), problem);
  } else if (!outcome.has_file() && !outcome.has_result()) {
    problem = "an outcome without a result";
  } else {
    table_->Commit(worker, unit, outcome.fence(), outcome.seconds());
    wire::JournalRecord record;
    *record.mutable_done() = outcome;
    offset_[static_cast<size_t>(unit)] = journal_->Append(record);
    ForgetBegun(unit);
    answer.set_status(wire::Answer::ACCEPTED);
  }
  if (!problem.empty()) {
    answer.set_status(wire::Answer::REFUSED);
    answer.set_why(problem);
  }
  answers_.emplace_back(session, std::move(answer));
}

void LeaseService::Keep(uint64_t session, uint64_t worker, const wire::UnitPartial& partial) {
  const int64_t unit = partial.unit();
  wire::Answer answer;
  answer.set_unit(unit);
  answer.set_fence(partial.fence());
  answer.set_step(partial.step());
  if (unit < 0 || unit >= table_->size()) {
    answer.set_status(wire::Answer::REFUSED);
    answer.set_why(Cat("there is no unit ", unit));
  } else if (table_->state(unit) == LeaseTable::State::kDone) {
    answer.set_status(wire::Answer::ALREADY_DONE);
  } else if (const std::string problem =
                 partial.has_file()
                     ? FileProblem(PartialFileName(unit, partial.fence(), partial.step()),
                                   partial.file())
                     : "";
             !problem.empty()) {
    answer.set_status(wire::Answer::REFUSED);
    answer.set_why(problem);
  } else if (const auto* known = Begun(unit); known != nullptr &&
                                              known->fence() == partial.fence() &&
                                              known->step() == partial.step()) {
    answer.set_status(wire::Answer::ACCEPTED);  // a repeated message
  } else if (!table_->Save(worker, unit, partial.fence(), partial.step())) {
    answer.set_status(wire::Answer::NOT_KEPT);
  } else {
    ForgetBegun(unit);
    begun_[unit] = partial;
    wire::JournalRecord record;
    *record.mutable_partial() = partial;
    journal_->Append(record);
    answer.set_status(wire::Answer::ACCEPTED);
  }
  answers_.emplace_back(session, std::move(answer));
}

const wire::UnitPartial* LeaseService::Begun(int64_t unit) const {
  const auto it = begun_.find(unit);
  return it == begun_.end() ? nullptr : &it->second;
}

// Its file goes when the journal no longer leads to it.
void LeaseService::ForgetBegun(int64_t unit) {
  const auto it = begun_.find(unit);
  if (it == begun_.end()) return;
  if (it->second.has_file()) outdated_.push_back(it->second.file().name());
  begun_.erase(it);
}

void LeaseService::WriteNews() {
  const LeaseTable::News news = table_->TakeNews();
  wire::JournalRecord record;
  for (const FailedUnit& failure : news.failures) {
    auto& out = *record.mutable_failure();
    out.set_unit(failure.unit);
    out.set_worker(failure.worker);
    out.set_lost(failure.lost);
    out.set_why(failure.why);
    journal_->Append(record);
  }
  for (const int64_t unit : news.set_aside) {
    record.set_set_aside(unit);
    journal_->Append(record);
  }
}

void LeaseService::Lost(uint64_t session, Micros now) {
  table_->Advance(now);
  if (const auto it = workers_.find(session); it != workers_.end()) {
    table_->Lose(it->second);
    workers_.erase(it);
  }
  WriteNews();
}

void LeaseService::Tick(Micros now) {
  table_->Advance(now);
  WriteNews();
}

LeaseService::Replies LeaseService::Sync() {
  journal_->Sync();
  for (const std::string& name : std::exchange(outdated_, {})) {
    std::error_code gone;
    fs::remove(settings_.folder / name, gone);
  }
  std::map<uint64_t, Reply> by_session;
  for (auto& [session, answer] : std::exchange(answers_, {}))
    if (workers_.contains(session)) by_session[session].message.add_answer()->Swap(&answer);
  const bool end = table_->finished() && !told_end_;
  if (end) {
    told_end_ = draining_ = true;
    reason_ = wire::End::FINISHED;
    for (const auto& [session, worker] : workers_)
      by_session[session].message.mutable_end()->set_reason(reason_);
  }
  Replies out;
  for (auto& [session, reply] : by_session) {
    reply.session = session;
    out.push_back(std::move(reply));
  }
  return out;
}

LeaseService::Replies LeaseService::Drain(wire::End::Reason reason) {
  if (told_end_) return {};
  draining_ = told_end_ = true;
  reason_ = reason;
  Replies out;
  for (const auto& [session, worker] : workers_) {
    out.push_back({.session = session});
    out.back().message.mutable_end()->set_reason(reason);
  }
  return out;
}

std::string LeaseService::ResultFileOf(int64_t unit) {
  return journal_->Read(offset_.at(static_cast<size_t>(unit))).done().file().name();
}

std::string LeaseService::Result(int64_t unit) {
  const uint64_t offset = offset_.at(static_cast<size_t>(unit));
  WR_CHECK(offset != 0, "unit ", unit, " has no result");
  wire::JournalRecord record = journal_->Read(offset);
  if (!record.done().has_file()) return std::move(*record.mutable_done()->mutable_result());
  if (const std::string problem =
          FileProblem(ResultFileName(unit, record.done().fence()), record.done().file());
      !problem.empty())
    Fail(Exit::kData, problem, "; remove the journal to do this work again");
  return ReadFileIfAny(settings_.folder / record.done().file().name());
}

}  // namespace whyrec::cluster
