#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "cluster/reduce.h"

namespace whyrec::cluster {
namespace {

// What a rank brings to an operation; the others read it between Open and Close.
struct Offer {
  std::string call;  // must be the same on all ranks
  void* bytes = nullptr;
  size_t n = 0;
};

// The meeting point of all ranks. Open and Close return when every rank has come, and throw
// Error(kLaunch) once that cannot happen any more.
class Group {
 public:
  explicit Group(int size) : offers_(static_cast<size_t>(size)) {}

  int size() const { return static_cast<int>(offers_.size()); }
  const std::vector<Offer>& offers() const { return offers_; }

  void Open(int rank, int64_t sequence, Offer offer) {
    std::unique_lock lock(mutex_);
    offers_[static_cast<size_t>(rank)] = std::move(offer);
    Meet(lock, rank, sequence);
  }

  void Close(int rank, int64_t sequence) {
    std::unique_lock lock(mutex_);
    Meet(lock, rank, sequence);
  }

  // A rank will come to no further meeting: nobody may wait for it.
  void Leave(const std::string& why) {
    std::lock_guard lock(mutex_);
    if (left_.empty()) left_ = why;
    changed_.notify_all();
  }

 private:
  void Meet(std::unique_lock<std::mutex>& lock, int rank, int64_t sequence) {
    const int64_t meeting = meetings_;
    if (left_.empty() && ++here_ == size()) {
      here_ = 0;
      left_ = Disagreement();
      if (left_.empty()) ++meetings_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return meetings_ != meeting || !left_.empty(); });
    if (meetings_ == meeting) {
      Fail(Exit::kLaunch, "rank ", rank, " of ", size(), " gives up ",
           offers_[static_cast<size_t>(rank)].call, ", operation ", sequence, ": ", left_);
    }
  }

  std::string Disagreement() const {
    for (size_t r = 1; r < offers_.size(); ++r) {
      if (offers_[r].call != offers_[0].call) {
        return Cat("rank 0 calls ", offers_[0].call, ", rank ", r, " calls ", offers_[r].call);
      }
    }
    return "";
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Offer> offers_;
  int here_ = 0;
  int64_t meetings_ = 0;
  std::string left_;  // why no further meeting will take place
};

class Thread final : public Communicator {
 public:
  Thread(Group& group, int rank) : group_(group), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return group_.size(); }

  void AllReduce(void* values, int64_t count, DType dtype, Reduce op) override {
    Accumulate(values, values, 0, dtype, op);  // throws, if at all, before others touch our values
    group_.Open(
        rank_, ++sequence_,
        {Cat("AllReduce(", op == Reduce::kSum ? "sum" : "max", ") of ", count, " ", NameOf(dtype)),
         values, 0});
    // This rank alone reads and writes its slice of everybody's values.
    const size_t width = SizeOf(dtype);
    const int64_t begin = SliceBegin(count, size(), rank_);
    const int64_t n = SliceBegin(count, size(), rank_ + 1) - begin;
    auto slice = [&](const Offer& other) {
      return static_cast<std::byte*>(other.bytes) + static_cast<size_t>(begin) * width;
    };
    const auto& offers = group_.offers();
    for (size_t r = 1; r < offers.size(); ++r) {
      Accumulate(slice(offers[0]), slice(offers[r]), n, dtype, op);
    }
    for (size_t r = 1; r < offers.size() && n > 0; ++r) {
      std::memcpy(slice(offers[r]), slice(offers[0]), static_cast<size_t>(n) * width);
    }
    group_.Close(rank_, sequence_);
  }

  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    group_.Open(rank_, ++sequence_, {"AllGather", const_cast<void*>(bytes), n});
    std::vector<std::vector<std::byte>> out;
    for (const Offer& other : group_.offers()) {
      const auto* begin = static_cast<const std::byte*>(other.bytes);
      out.emplace_back(begin, begin + other.n);
    }
    group_.Close(rank_, sequence_);
    return out;
  }

  void Broadcast(void* bytes, size_t n, int root) override {
    WR_CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    group_.Open(rank_, ++sequence_, {Cat("Broadcast of ", n, " bytes from ", root), bytes, n});
    if (rank_ != root && n > 0) {
      std::memcpy(bytes, group_.offers()[static_cast<size_t>(root)].bytes, n);
    }
    group_.Close(rank_, sequence_);
  }

  void Barrier() override { group_.Open(rank_, ++sequence_, {"Barrier", nullptr, 0}); }

  void Abort(int code) override {
    std::fflush(nullptr);
    std::_Exit(code);
  }

 private:
  Group& group_;
  int rank_;
  int64_t sequence_ = 0;
};

}  // namespace

void RunThreads(int ranks, const std::function<void(Communicator&)>& body) {
  WR_CHECK(ranks > 0, ranks);
  Group group(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  auto run = [&](int rank) {
    std::string why = Cat("rank ", rank, " has ended its work");
    try {
      Thread self(group, rank);
      body(self);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
      why = Cat("rank ", rank, " has failed");
    }
    group.Leave(why);
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run, rank);
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace whyrec::cluster
