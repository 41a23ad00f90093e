// The coordinator without sockets: sessions, the lease table and the journal. Messages and time are
// passed in, replies returned, as values. Used from one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/lease/journal.h"
#include "cluster/lease/table.h"

namespace whyrec::cluster {

constexpr uint32_t kWireVersion = 2;  // of wire.proto; both sides must have the same

struct ServiceSettings {
  std::string job;               // identity of the work
  std::vector<int64_t> cost;     // of unit 0..n-1
  std::string token;             // secret that a worker must send
  std::filesystem::path folder;  // of result files
  LeaseRules rules;
};

class LeaseService {
 public:
  // Continues from the journal, or starts a new one. Errors as Journal.
  LeaseService(ServiceSettings settings, std::unique_ptr<JournalFile> journal);

  struct Reply {
    uint64_t session = 0;
    wire::FromCoordinator message;
    bool close = false;  // after the message
  };
  using Replies = std::vector<Reply>;

  // `session`: any number that the caller uses for one connection only.
  Replies Receive(uint64_t session, const wire::FromWorker& message, Micros now);
  void Lost(uint64_t session, Micros now);  // its connection is gone
  void Tick(Micros now);                    // several times per TTL
  // Syncs the journal and returns the replies that had to wait for that; when the work is finished,
  // also an End for every session.
  Replies Sync();
  bool gathered() const { return !answers_.empty() || journal_->gathered(); }
  // Grants no more leases: workers finish their units and are asked to leave.
  Replies Drain(wire::End::Reason reason);

  const LeaseTable& table() const { return *table_; }
  bool finished() const { return table_->finished() && !gathered(); }
  size_t sessions() const { return workers_.size(); }
  bool knows(uint64_t session) const { return workers_.contains(session); }
  uint64_t torn_bytes() const { return journal_->torn_bytes(); }
  // Result of a unit that is done; Error(kData) when the journal or its file has changed.
  std::string Result(int64_t unit);
  std::string ResultFileOf(int64_t unit);  // its name, "" when the result is in the journal
  // What a unit that is not done has so far; null: nothing.
  const wire::UnitPartial* Begun(int64_t unit) const;

 private:
  void Replay(const wire::JournalRecord& record, uint64_t offset);
  std::string WhyRefused(const wire::Hello& hello) const;
  void Greet(uint64_t session, const wire::Hello& hello, Replies& out);
  void Take(uint64_t session, uint64_t worker, const wire::UnitOutcome& outcome);
  void Keep(uint64_t session, uint64_t worker, const wire::UnitPartial& partial);
  void ForgetBegun(int64_t unit);
  std::string FileProblem(const std::string& name, const wire::ResultFile& file) const;
  void WriteNews();

  ServiceSettings settings_;
  std::vector<wire::JournalRecord> failures_to_replay_;
  std::vector<uint64_t> offset_;                // of the unit's result in the journal; 0: none
  std::map<int64_t, wire::UnitPartial> begun_;  // of units not done
  std::vector<std::string> outdated_;           // files of former partials, until the next sync
  uint64_t life_ = 0;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<LeaseTable> table_;
  std::map<uint64_t, uint64_t> workers_;                    // by session
  std::vector<std::pair<uint64_t, wire::Answer>> answers_;  // that wait for the disk
  bool draining_ = false, told_end_ = false;
  wire::End::Reason reason_ = wire::End::FINISHED;
};

// Name of a unit's result file; no other name is accepted.
std::string ResultFileName(int64_t unit, uint64_t fence);
std::string PartialFileName(int64_t unit, uint64_t fence, uint32_t step);

}  // namespace whyrec::cluster
