#include "cluster/collective/mpi_messages.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

namespace whyrec::cluster {
namespace {

constexpr int kMeetTag = 1, kDataTag = 2;

// Between two looks: first as fast as the other threads allow, then so seldom that a waiting rank
// costs nothing.
void Pause(std::chrono::duration<double> waited) {
  if (waited.count() < 2e-3) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(waited.count() < 0.1 ? 50 : 1000));
  }
}

}  // namespace

Messages::Messages(const WhyrecMpiTable& mpi, const CommunicatorOptions& options,
                   std::function<void(const std::string&)> out_of_time)
    : mpi_(mpi), options_(options), out_of_time_(std::move(out_of_time)) {
  WR_CHECK(options.message_bytes > 0 && options.message_bytes <= INT32_MAX, options.message_bytes);
}

// Small enough that everybody's fit a cache; keeps envelopes aligned.
int64_t Messages::Inline(int size) { return (32 << 10) / size / 64 * 64; }

void Messages::Meet(const Meeting& mine, int rank, int size) {
  rank_ = rank, size_ = size, mine_ = mine;
  const int64_t stride_bytes = Stride();  // in one message: the receiver does not know its length
  const auto stride = static_cast<size_t>(stride_bytes);
  sent_.resize(stride * static_cast<size_t>(size));
  met_.resize(sent_.size());
  const auto n = static_cast<int64_t>(sizeof(Envelope) + mine.payload.size());
  std::vector<Message> sends, receives;
  for (int r = 0; r < size; ++r) {
    std::byte* out = &(r == rank ? met_ : sent_)[stride * static_cast<size_t>(r)];
    const Envelope envelope = {mine.call, mine.sequence,
                               mine.sends.empty() ? 0 : mine.sends[static_cast<size_t>(r)]};
    std::memcpy(out, &envelope, sizeof envelope);
    if (!mine.payload.empty())
      std::memcpy(out + sizeof envelope, mine.payload.data(), mine.payload.size());
    if (r == rank) continue;
    sends.push_back({r, out, n});
    receives.push_back({r, &met_[stride * static_cast<size_t>(r)], stride_bytes});
  }
  Begin(receives, false, kMeetTag, stride_bytes);
  Begin(sends, true, kMeetTag, stride_bytes);
  WaitForAll(mine.sequence == 1 ? options_.first_seconds : options_.seconds,
             "did not arrive within ");
  for (int r = 0; r < size; ++r) {
    const Envelope& other = Of(r);
    if (other.call != mine.call || other.sequence != mine.sequence)
      Fail(Exit::kLaunch, GivesUp(rank, size, mine.call, mine.sequence), "rank ", rank, " calls ",
           Describe(mine.call), ", rank ", r, " calls ", Describe(other.call),
           other.sequence == mine.sequence ? "" : Cat(", its operation ", other.sequence));
  }
}

const Messages::Envelope& Messages::Of(int rank) const {
  return *reinterpret_cast<const Envelope*>(&met_[static_cast<size_t>(Stride() * rank)]);
}

int64_t Messages::Announced(int rank) const { return Of(rank).bytes; }

const std::byte* Messages::Payload(int rank) const {
  return &met_[static_cast<size_t>(Stride() * rank)] + sizeof(Envelope);
}

void Messages::Exchange(std::span<const Message> sends, std::span<const Message> receives) {
  Begin(receives, false, kDataTag, options_.message_bytes);
  Begin(sends, true, kDataTag, options_.message_bytes);
  WaitForAll(options_.seconds, "has not moved for ");
}

void Messages::Begin(std::span<const Message> messages, bool send, int tag, int64_t limit) {
  for (const Message& message : messages) {
    for (int64_t at = 0; at < message.n; at += limit) {
      const auto slot = static_cast<int>(slots_.size());
      auto* bytes = static_cast<std::byte*>(message.bytes) + at;
      const auto n = static_cast<int>(std::min(limit, message.n - at));
      slots_.push_back({message.peer, send});
      if (send) {
        Check("MPI_Isend", mpi_.send(slot, bytes, n, message.peer, tag));
      } else {
        Check("MPI_Irecv", mpi_.receive(slot, bytes, n, message.peer, tag));
      }
    }
  }
}

void Messages::WaitForAll(double seconds, const char* lack) {
  using Clock = std::chrono::steady_clock;
  const auto slots = static_cast<int>(slots_.size());
  auto progress = Clock::now();
  for (int done = 0, before = 0; done < slots; before = done) {
    Check("MPI_Testsome", mpi_.test(slots, &done));
    if (done == slots) break;
    if (done > before) progress = Clock::now();
    const std::chrono::duration<double> waited = Clock::now() - progress;
    if (mine_.waiting == Waiting::kInStep && waited.count() > seconds) {
      std::string who;
      // Receives first: a rank that does not send is where the delay is.
      for (const bool send : {false, true}) {
        for (int slot = 0; slot < slots && who.empty(); ++slot) {
          if (slots_[static_cast<size_t>(slot)].send == send && !mpi_.has_ended(slot))
            who = Cat("rank ", slots_[static_cast<size_t>(slot)].peer);
        }
      }
      out_of_time_(Cat(GivesUp(rank_, size_, mine_.call, mine_.sequence), who, " ", lack, seconds,
                       " s; is that rank stuck, or the network? try: mpirun -n ", size_,
                       " whyrec doctor"));
    }
    if (stop_) Fail(Exit::kLaunch, GivesUp(rank_, size_, mine_.call, mine_.sequence), "stopped");
    Pause(waited);
  }
  slots_.clear();
}

void Messages::Check(const char* function, int error) const {
  if (error == 0) return;
  char text[512] = "";
  mpi_.explain(error, text, sizeof text);
  // As with a time-out: the other messages are still MPI's.
  out_of_time_(Cat(GivesUp(rank_, size_, mine_.call, mine_.sequence), function, ": ", text));
}

}  // namespace whyrec::cluster
