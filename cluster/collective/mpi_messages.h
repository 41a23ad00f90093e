// Rounds of messages between all ranks over MPI. On a time-out the message names the ranks that are
// missing.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/call.h"
#include "cluster/collective/mpi_table.h"

namespace whyrec::cluster {

// One block; empty ones are not sent.
struct Message {
  int peer;
  void* bytes;  // a sent block is only read
  int64_t n;
};

class Messages {
 public:
  // `out_of_time(what)` must end the process: MPI still owns the buffers, so the stack cannot be
  // unwound.
  Messages(const WhyrecMpiTable& mpi, const CommunicatorOptions& options,
           std::function<void(const std::string&)> out_of_time);

  // What every rank brings to an operation: its call, the bytes it will send to each rank (empty:
  // none), and `payload` (the same for all, at most Inline() bytes).
  struct Meeting {
    Call call;
    int64_t sequence;
    Waiting waiting = Waiting::kInStep;
    Sizes sends = {};
    std::span<const std::byte> payload = {};
  };
  // Ranks 0 .. size-1 exchange it. Error(kLaunch) when they call different operations.
  void Meet(const Meeting& mine, int rank, int size);
  // After Meet: what rank r will send to this one, and its payload.
  int64_t Announced(int rank) const;
  const std::byte* Payload(int rank) const;
  static int64_t Inline(int size);

  // Sends and receives; returns when all of it has been moved.
  void Exchange(std::span<const Message> sends, std::span<const Message> receives);

  // From another thread: makes a wait throw. For a communicator that is destroyed while operations
  // are still running.
  void Stop() { stop_ = true; }

 private:
  struct Envelope {
    Call call;
    int64_t sequence, bytes;
  };
  int64_t Stride() const { return static_cast<int64_t>(sizeof(Envelope)) + Inline(size_); }
  const Envelope& Of(int rank) const;
  void Begin(std::span<const Message> messages, bool send, int tag, int64_t limit);
  void WaitForAll(double seconds, const char* lack);
  void Check(const char* function, int error) const;

  const WhyrecMpiTable& mpi_;
  const CommunicatorOptions options_;
  const std::function<void(const std::string&)> out_of_time_;
  std::atomic<bool> stop_ = false;
  int rank_ = 0, size_ = 1;
  Meeting mine_ = {};
  std::vector<std::byte> sent_, met_;  // envelopes, one stride per rank
  struct Slot {
    int peer;
    bool send;
  };
  std::vector<Slot> slots_;
};

}  // namespace whyrec::cluster
