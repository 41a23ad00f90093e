// Collectives on device buffers over NCCL, on a stream of their own, watched by a thread that ends
// the process when an operation does not complete in time.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <thread>

#include "cluster/collective/call.h"
#include "cluster/collective/module.h"
#include "cluster/collective/reduce.h"
#include "cluster/collective/watchdog.h"

namespace whyrec::cluster {
namespace {

// What ranks tell each other before NCCL starts.
struct Card {
  char host[256], trouble[512];
  WhyrecDevice device;
  int nccl, cuda;
  char program[32];
};

Card MakeCard(const WhyrecNcclTable& nccl, int device) {
  Card card{};
  gethostname(card.host, sizeof card.host - 1);
  std::snprintf(card.program, sizeof card.program, "%s", WHYREC_VERSION);
  int devices = 0;
  if (nccl.device_count(&devices, &card.cuda) != 0 || nccl.version(&card.nccl) != 0 ||
      (device < devices && nccl.describe(device, &card.device) != 0)) {
    std::snprintf(card.trouble, sizeof card.trouble, "%s", nccl.explain());
  } else if (device >= devices) {
    std::snprintf(card.trouble, sizeof card.trouble,
                  "device %d is asked for, %d are visible; start fewer ranks on this host", device,
                  devices);
  }
  return card;
}

// The same sentence on all ranks.
void CheckCards(const std::vector<Card>& cards) {
  std::map<std::string, size_t> owner;
  for (size_t r = 0; r < cards.size(); ++r) {
    const Card& card = cards[r];
    if (card.trouble[0] != '\0')
      Fail(Exit::kLaunch, "rank ", r, " on ", card.host, " cannot use NCCL: ", card.trouble);
    if (card.nccl != cards[0].nccl || std::strcmp(card.program, cards[0].program) != 0)
      Fail(Exit::kLaunch, "rank 0 has NCCL ", cards[0].nccl, " and whyrec ", cards[0].program,
           ", rank ", r, " on ", card.host, " has NCCL ", card.nccl, " and whyrec ", card.program,
           "; install the same on all hosts");
    const auto [first, fresh] = owner.emplace(Cat(card.host, " ", card.device.uuid), r);
    if (!fresh)
      Fail(Exit::kLaunch, "ranks ", first->second, " and ", r, " both use ", card.device.uuid,
           " of ", card.host, "; start at most one rank per GPU, and give each its own device");
  }
}

int TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kWhyrecNcclF32;
    case DType::kF64:
      return kWhyrecNcclF64;
    case DType::kI64:
      return kWhyrecNcclI64;
    case DType::kBF16:
      return kWhyrecNcclBF16;
    case DType::kF16:
      return kWhyrecNcclF16;
    default:
      CheckReducible(dtype);
      return kWhyrecNcclU8;
  }
}

class Nccl final : public Communicator {
 public:
  Nccl(Communicator& host, int device, const CommunicatorOptions& options)
      : nccl_(NcclTable()),
        host_(host),
        device_(device),
        options_(options),
        watchdog_([this] { nccl_.use_device(device_); }, [this] { Look(); },
                  [this](const std::string& text, double seconds) { Expire(text, seconds); }) {
    const Card mine = MakeCard(nccl_, device);
    std::vector<Card> cards(static_cast<size_t>(size()));
    host_.AllGatherInto(&mine, cards.data(), Sizes(cards.size(), sizeof mine));
    CheckCards(cards);
    char id[128] = {};
    Check(nccl_.use_device(device_), "");
    if (rank() == 0) Check(nccl_.unique_id(id), "");
    host_.Broadcast(id, sizeof id, 0);
    Check(nccl_.make_stream(&stream_), "");
    const std::string text = Cat("rank ", rank(), " of ", size(), " gives up the start of NCCL: ");
    const auto watch = watchdog_.Begin(text, options_.first_seconds);
    void* joined = nullptr;
    Check(nccl_.join(&joined, size(), id, rank()), text);
    watchdog_.Attach(watch, [] { return true; });
    watchdog_.Drain();
    comm_ = joined;
  }

  // A rank that is unwinding an exception does not wait.
  ~Nccl() override {
    if (comm_ == nullptr) return;
    if (std::uncaught_exceptions() > 0) {
      nccl_.abort(comm_.exchange(nullptr));
      return;
    }
    watchdog_.Drain();
    host_.Barrier();  // destroying waits for the others, without a time-out
    nccl_.use_device(device_);
    nccl_.leave(comm_.exchange(nullptr));
  }

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place at) override {
    StartAllReduce(values, count, dtype, op, at)->Wait();
  }

  std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype, Reduce op,
                                          Place at) override {
    if (OnHost(at)) return host_.StartAllReduce(values, count, dtype, op);
    const Call call = {
        .operation = Operation::kAllReduce, .dtype = dtype, .reduce = op, .count = count};
    if (LosesNaN(dtype, op)) {
      Staged stage(*this, at, values, count * Width(dtype));
      host_.AllReduce(stage.bytes.data(), count, dtype, op);
      stage.Return(values);
      return Issue(call, at, [] {});
    }
    return Issue(call, at, [&] {
      if (count > 0)
        Do(nccl_.all_reduce(values, count, TypeOf(dtype), op == Reduce::kMax, comm_, stream_));
    });
  }

  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce op,
                     Place at) override {
    if (OnHost(at)) return host_.ReduceScatter(values, own, counts, dtype, op);
    const int64_t total = Total(counts, size()), width = Width(dtype);
    if (LosesNaN(dtype, op)) {
      Staged stage(*this, at, values, total * width);
      std::vector<std::byte> slice(static_cast<size_t>(counts[Me()] * width));
      host_.ReduceScatter(stage.bytes.data(), slice.data(), counts, dtype, op);
      stage.bytes = std::move(slice);
      return stage.Return(own);
    }
    const Call call = {
        .operation = Operation::kReduceScatter, .dtype = dtype, .reduce = op, .count = total};
    Issue(call, at, [&] {
      InOneNcclCall([&] {
        for (int r = 0; r < size(); ++r) {
          if (counts[static_cast<size_t>(r)] == 0) continue;
          Do(nccl_.reduce(At(values, Offset(counts, r) * width), own,
                          counts[static_cast<size_t>(r)], TypeOf(dtype), op == Reduce::kMax, r,
                          comm_, stream_));
        }
      });
    })->Wait();
  }

  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at) override {
    if (OnHost(at)) return host_.AllGatherInto(own, all, bytes);
    const Call call = {.operation = Operation::kAllGatherInto, .count = Total(bytes, size())};
    Issue(call, at, [&] {
      Copy(At(all, Offset(bytes, rank())), own, bytes[Me()]);
      InOneNcclCall([&] {
        for (int r = 0; r < size(); ++r) {
          Send(r, own, bytes[Me()]);
          Receive(r, At(all, Offset(bytes, r)), bytes[static_cast<size_t>(r)]);
        }
      });
    })->Wait();
  }

  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    return host_.AllGather(bytes, n);
  }

  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place at) override {
    if (OnHost(at)) return host_.AllToAll(in, send, out, receive);
    Total(send, size());
    Total(receive, size());
    const Call call = {.operation = Operation::kAllToAll};
    if (send[Me()] != receive[Me()])
      Fail(Exit::kLaunch, GivesUp(rank(), size(), call, sequence_ + 1), "rank ", rank(), " sends ",
           send[Me()], " bytes to itself, and expects ", receive[Me()]);
    Issue(call, at, [&] {
      Copy(At(out, Offset(receive, rank())), At(in, Offset(send, rank())), send[Me()]);
      InOneNcclCall([&] {
        for (int r = 0; r < size(); ++r) {
          Send(r, At(in, Offset(send, r)), send[static_cast<size_t>(r)]);
          Receive(r, At(out, Offset(receive, r)), receive[static_cast<size_t>(r)]);
        }
      });
    })->Wait();
  }

  void Broadcast(void* bytes, size_t n, int root, Place at) override {
    WR_CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    if (OnHost(at)) return host_.Broadcast(bytes, n, root);
    const auto count = static_cast<int64_t>(n);
    Issue({.operation = Operation::kBroadcast, .root = root, .count = count}, at, [&] {
      if (count > 0) Do(nccl_.broadcast(bytes, count, root, comm_, stream_));
    })->Wait();
  }

  void Barrier(Waiting waiting) override { host_.Barrier(waiting); }
  void Abort(int code) override { host_.Abort(code); }

 private:
  // Marks a point of a stream.
  struct Event {
    explicit Event(Nccl& comm) : comm(comm) { comm.Do(comm.nccl_.make_event(&event)); }
    ~Event() { comm.nccl_.drop_event(event); }
    Event(const Event&) = delete;
    bool Over() const {
      int done = 0;
      comm.Do(comm.nccl_.query(event, &done));
      return done != 0;
    }
    Nccl& comm;
    void* event = nullptr;
  };

  // Wait() holds the caller's stream, not its thread.
  struct Handle final : Pending {
    Handle(Nccl& comm, void* stream, std::shared_ptr<Event> end)
        : comm(comm), stream(stream), end(std::move(end)) {}
    ~Handle() override {
      if (end) comm.nccl_.wait_for(stream, end->event);
    }
    void Wait() override {
      if (end) comm.Do(comm.nccl_.wait_for(stream, end->event));
      end.reset();
    }
    Nccl& comm;
    void* stream;
    std::shared_ptr<Event> end;
  };

  // NCCL's maximum drops a NaN and ours keeps it, so floating-point maxima, which are few and
  // short, go over the host. Blocks the caller.
  struct Staged {
    Staged(Nccl& comm, const Place& at, const void* values, int64_t n)
        : comm(comm), at(at), bytes(static_cast<size_t>(n)) {
      comm.Do(comm.nccl_.use_device(comm.device_));
      if (n > 0) comm.Do(comm.nccl_.copy(bytes.data(), values, n, at.stream));
      comm.Do(comm.nccl_.synchronise(at.stream));
    }
    void Return(void* values) {
      if (!bytes.empty())
        comm.Do(comm.nccl_.copy(values, bytes.data(), std::ssize(bytes), at.stream));
      comm.Do(comm.nccl_.synchronise(at.stream));
    }
    Nccl& comm;
    Place at;
    std::vector<std::byte> bytes;
  };

  static bool LosesNaN(DType dtype, Reduce op) {
    CheckReducible(dtype);
    return op == Reduce::kMax && dtype != DType::kI64;
  }
  static int64_t Width(DType dtype) { return static_cast<int64_t>(SizeOf(dtype)); }
  size_t Me() const { return static_cast<size_t>(rank()); }

  bool OnHost(const Place& at) const {
    WR_CHECK(at.kind == Place::Kind::kHost || at.index == device_, "device ", at.index, ", not ",
             device_);
    return at.kind == Place::Kind::kHost;
  }

  // All operations run on one stream of ours, after what the caller's stream holds so far, and
  // under the watchdog from before NCCL is called, since NCCL may block there when a rank is
  // missing.
  template <typename Body>
  std::unique_ptr<Pending> Issue(const Call& call, const Place& at, const Body& body) {
    const std::string text = GivesUp(rank(), size(), call, ++sequence_);
    Do(nccl_.use_device(device_));
    Event ready(*this);
    Do(nccl_.record(ready.event, at.stream));
    Do(nccl_.wait_for(stream_, ready.event));
    const auto watch =
        watchdog_.Begin(text, sequence_ == 1 ? options_.first_seconds : options_.seconds);
    now_ = text;
    body();
    now_.clear();
    auto end = std::make_shared<Event>(*this);
    Do(nccl_.record(end->event, stream_));
    watchdog_.Attach(watch, [end] { return end->Over(); });
    return std::make_unique<Handle>(*this, at.stream, std::move(end));
  }

  template <typename Body>
  void InOneNcclCall(const Body& body) {
    Do(nccl_.group_start());
    body();
    Do(nccl_.group_end());
  }
  void Send(int to, const void* bytes, int64_t n) {
    if (to != rank() && n > 0) Do(nccl_.send(bytes, n, to, comm_, stream_));
  }
  void Receive(int from, void* bytes, int64_t n) {
    if (from != rank() && n > 0) Do(nccl_.receive(bytes, n, from, comm_, stream_));
  }
  void Copy(void* to, const void* from, int64_t n) {
    if (n > 0 && to != from) Do(nccl_.copy(to, from, n, stream_));
  }

  void Do(int error) const { Check(error, now_); }
  void Check(int error, const std::string& text) const {
    if (error != 0) Fail(Exit::kLaunch, text, nccl_.explain());
  }

  // On the watchdog's thread.
  void Look() const {
    if (comm_ != nullptr) Check(nccl_.check(comm_), "");
  }
  void Expire(const std::string& text, double seconds) {
    const std::string why =
        seconds > 0 ? Cat("no progress within ", seconds,
                          " s: a rank is missing, has stopped or calls another operation; the "
                          "other ranks' messages tell which, NCCL_DEBUG=WARN tells more")
                    : "";
    std::fprintf(stderr, "whyrec: %s%s\n", text.c_str(), why.c_str());
    // Aborting frees the GPU for the others; it may itself wait for a kernel that does not end.
    std::thread([this] {
      if (comm_ != nullptr) nccl_.abort(comm_);
    }).detach();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    host_.Abort(static_cast<int>(Exit::kLaunch));
  }

  const WhyrecNcclTable& nccl_;
  Communicator& host_;
  const int device_;
  const CommunicatorOptions options_;
  std::atomic<void*> comm_ = nullptr;
  void* stream_ = nullptr;
  int64_t sequence_ = 0;
  std::string now_;    // the operation that is being issued, for messages
  Watchdog watchdog_;  // last: it looks at the others
};

}  // namespace

const WhyrecNcclTable& NcclTable() {
  void* table = OpenModule("whyrec_nccl", "whyrec_nccl_table", "devices need the NCCL module",
                           "build it beside the program");
  return *reinterpret_cast<decltype(&whyrec_nccl_table)>(table)();
}

std::unique_ptr<Communicator> MakeNccl(Communicator& host, int device,
                                       const CommunicatorOptions& options) {
  return std::make_unique<Nccl>(host, device, options);
}

}  // namespace whyrec::cluster
