// N ranks as threads of one process, for tests: they exchange pointers and copy from each other's
// buffers.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <type_traits>

#include "cluster/collective/call.h"
#include "cluster/collective/reduce.h"

namespace whyrec::cluster {
namespace {

// A rank's arguments of an operation; the others read them between Open and Close.
struct Offer {
  Call call;
  const void* in = nullptr;
  void* out = nullptr;
  Sizes sizes = {};    // what it sends to each rank, or the cut that all agree on
  Sizes receive = {};  // what it expects of each rank (AllToAll)
};

// The meeting point of all ranks. Open and Close return when every rank has come, and throw
// Error(kLaunch) once that cannot happen any more.
class Rendezvous {
 public:
  Rendezvous(int size, const CommunicatorOptions& options)
      : options_(options), offers_(static_cast<size_t>(size)), here_(static_cast<size_t>(size)) {}

  int size() const { return static_cast<int>(offers_.size()); }
  const std::vector<Offer>& offers() const { return offers_; }

  void Open(int rank, int64_t sequence, Offer offer, Waiting waiting = Waiting::kInStep) {
    std::unique_lock lock(mutex_);
    offers_[static_cast<size_t>(rank)] = std::move(offer);
    Meet(lock, rank, sequence, waiting);
  }

  void Close(int rank, int64_t sequence) {
    std::unique_lock lock(mutex_);
    Meet(lock, rank, sequence, Waiting::kForWork);  // all have come; they only copy
  }

  // This rank will not take part any more: wake the ranks that wait for it.
  void Leave(const std::string& why) {
    std::lock_guard lock(mutex_);
    if (left_.empty()) left_ = why;
    changed_.notify_all();
  }

 private:
  void Meet(std::unique_lock<std::mutex>& lock, int rank, int64_t sequence, Waiting waiting) {
    const int64_t meeting = meetings_;
    here_[static_cast<size_t>(rank)] = true;
    if (left_.empty() && std::find(here_.begin(), here_.end(), false) == here_.end()) {
      here_.assign(here_.size(), false);
      left_ = Disagreement();
      if (left_.empty()) ++meetings_;
      changed_.notify_all();
    }
    const auto over = [&] { return meetings_ != meeting || !left_.empty(); };
    const double seconds = sequence == 1 ? options_.first_seconds : options_.seconds;
    if (waiting == Waiting::kForWork) {
      changed_.wait(lock, over);
    } else if (!changed_.wait_for(lock, std::chrono::duration<double>(seconds), over)) {
      const auto missing = std::find(here_.begin(), here_.end(), false) - here_.begin();
      left_ = Cat("rank ", missing, " did not arrive within ", seconds, " s");
      changed_.notify_all();
    }
    if (meetings_ == meeting) {
      Fail(Exit::kLaunch, GivesUp(rank, size(), offers_[static_cast<size_t>(rank)].call, sequence),
           left_);
    }
  }

  std::string Disagreement() const {
    for (size_t r = 1; r < offers_.size(); ++r) {
      if (offers_[r].call != offers_[0].call)
        return Cat("rank 0 calls ", Describe(offers_[0].call), ", rank ", r, " calls ",
                   Describe(offers_[r].call));
    }
    return "";
  }

  const CommunicatorOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Offer> offers_;
  std::vector<bool> here_;
  int64_t meetings_ = 0;
  std::string left_;  // why no further meeting will take place
};

class Thread final : public Communicator {
 public:
  Thread(Rendezvous& rendezvous, int rank) : rendezvous_(rendezvous), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return rendezvous_.size(); }

  void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place at) override {
    CheckReducible(dtype);  // before others touch our values
    Open({.operation = Operation::kAllReduce, .dtype = dtype, .reduce = op, .count = count}, values,
         values, {}, at);
    // This rank alone reads and writes its slice of everybody's values.
    const int64_t width = static_cast<int64_t>(SizeOf(dtype));
    const int64_t begin = SliceBegin(count, size(), rank_);
    const int64_t n = SliceBegin(count, size(), rank_ + 1) - begin;
    std::vector<void*> slices;
    for (const Offer& other : rendezvous_.offers()) slices.push_back(At(other.out, begin * width));
    if (n > 0) {
      ReduceInOrder(slices[0], {slices.data(), slices.size()}, n, dtype, op);
      for (size_t r = 1; r < slices.size(); ++r)
        std::memcpy(slices[r], slices[0], static_cast<size_t>(n * width));
    }
    rendezvous_.Close(rank_, sequence_);
  }

  std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype, Reduce op,
                                          Place at) override {
    AllReduce(values, count, dtype, op, at);
    return std::make_unique<Done>();
  }

  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce op,
                     Place at) override {
    CheckReducible(dtype);
    const int64_t total = Total(counts, size());
    Open({.operation = Operation::kReduceScatter, .dtype = dtype, .reduce = op, .count = total},
         values, own, counts, at);
    CheckEqualSizes();
    const int64_t begin = Offset(counts, rank_) * static_cast<int64_t>(SizeOf(dtype));
    std::vector<const void*> slices;
    for (const Offer& other : rendezvous_.offers()) slices.push_back(At(other.in, begin));
    ReduceInOrder(own, slices, counts[static_cast<size_t>(rank_)], dtype, op);
    rendezvous_.Close(rank_, sequence_);
  }

  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at) override {
    Open({.operation = Operation::kAllGatherInto, .count = Total(bytes, size())}, own, all, bytes,
         at);
    CheckEqualSizes();
    for (int r = 0; r < size(); ++r)
      Copy(At(all, Offset(bytes, r)), OfferOf(r).in, bytes[static_cast<size_t>(r)]);
    rendezvous_.Close(rank_, sequence_);
  }

  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    Open({.operation = Operation::kAllGather}, bytes, nullptr, {static_cast<int64_t>(n)}, {});
    std::vector<std::vector<std::byte>> out;
    for (const Offer& other : rendezvous_.offers()) {
      const auto* begin = static_cast<const std::byte*>(other.in);
      out.emplace_back(begin, begin + other.sizes[0]);
    }
    rendezvous_.Close(rank_, sequence_);
    return out;
  }

  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place at) override {
    Total(send, size());
    Total(receive, size());
    Open({.operation = Operation::kAllToAll}, in, out, send, at, receive);
    CheckPairs();
    for (int r = 0; r < size(); ++r)
      Copy(At(out, Offset(receive, r)), At(OfferOf(r).in, Offset(OfferOf(r).sizes, rank_)),
           receive[static_cast<size_t>(r)]);
    rendezvous_.Close(rank_, sequence_);
  }

  void Broadcast(void* bytes, size_t n, int root, Place at) override {
    WR_CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    const auto count = static_cast<int64_t>(n);
    Open({.operation = Operation::kBroadcast, .root = root, .count = count}, bytes, bytes, {}, at);
    Copy(bytes, OfferOf(root).in, count);
    rendezvous_.Close(rank_, sequence_);
  }

  void Barrier(Waiting waiting) override {
    rendezvous_.Open(rank_, ++sequence_, {{.operation = Operation::kBarrier}}, waiting);
  }

  void Abort(int code) override {
    std::fflush(nullptr);
    std::_Exit(code);
  }

 private:
  template <typename T>
  static T* At(T* base, int64_t offset) {
    using Byte = std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;
    return static_cast<Byte*>(base) + offset;
  }
  static int64_t Offset(const Sizes& sizes, int rank) {
    return std::accumulate(sizes.begin(), sizes.begin() + rank, int64_t{0});
  }
  static void Copy(void* to, const void* from, int64_t n) {
    if (n > 0 && to != from) std::memcpy(to, from, static_cast<size_t>(n));
  }
  const Offer& OfferOf(int rank) const { return rendezvous_.offers()[static_cast<size_t>(rank)]; }

  void Open(const Call& call, const void* in, void* out, const Sizes& sizes, Place at,
            const Sizes& receive = {}) {
    WR_CHECK(at.kind == Place::Kind::kHost, "Thread takes host buffers");
    rendezvous_.Open(rank_, ++sequence_, {call, in, out, sizes, receive});
  }

  // These checks fail on all ranks or on none, so no rank leaves while others read its buffers.
  void CheckPairs() const {
    for (int from = 0; from < size(); ++from) {
      for (int to = 0; to < size(); ++to) {
        const int64_t sent = OfferOf(from).sizes[static_cast<size_t>(to)];
        const int64_t expected = OfferOf(to).receive[static_cast<size_t>(from)];
        if (sent != expected)
          Fail(Exit::kLaunch, GivesUp(rank_, size(), OfferOf(rank_).call, sequence_), "rank ", from,
               " sends ", sent, " bytes to rank ", to, ", which expects ", expected);
      }
    }
  }

  void CheckEqualSizes() const {
    for (int r = 1; r < size(); ++r) {
      if (OfferOf(r).sizes != OfferOf(0).sizes)
        Fail(Exit::kLaunch, GivesUp(rank_, size(), OfferOf(0).call, sequence_), "ranks 0 and ", r,
             " divide it differently");
    }
  }

  Rendezvous& rendezvous_;
  int rank_;
  int64_t sequence_ = 0;
};

}  // namespace

void RunThreads(int ranks, const std::function<void(Communicator&)>& body,
                const CommunicatorOptions& options) {
  WR_CHECK(ranks > 0, ranks);
  Rendezvous rendezvous(ranks, options);
  std::mutex mutex;
  std::exception_ptr first;
  auto run = [&](int rank) {
    std::string why = Cat("rank ", rank, " has ended its work");
    try {
      Thread self(rendezvous, rank);
      body(self);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
      why = Cat("rank ", rank, " has failed");
    }
    rendezvous.Leave(why);
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run, rank);
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace whyrec::cluster
