// Collectives on host buffers over MPI's point-to-point messages. Not over MPI's own collectives:
// those may add in any order and cannot time out, and ours add in rank order and name missing
// ranks.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

#include "cluster/collective/module.h"
#include "cluster/collective/mpi_messages.h"
#include "cluster/collective/mpi_table.h"
#include "cluster/collective/queue.h"
#include "cluster/collective/reduce.h"

namespace whyrec::cluster {
namespace {

// Large reductions are done in pieces of this size: scratch memory stays small, and one piece's
// sums are sent together with the next one's values.
constexpr int64_t kPiece = 4 << 20;

class Mpi final : public Communicator {
 public:
  explicit Mpi(const CommunicatorOptions& options)
      : mpi_(MpiTable()), messages_(mpi_, options, [this](const std::string& what) {
          std::fprintf(stderr, "whyrec: %s\n", what.c_str());
          Abort(static_cast<int>(Exit::kLaunch));
        }) {
    const Launch launch = ReadLaunch();  // first: MPI adds to the environment
    if (const int error = mpi_.start(&place_); error != 0) {
      char text[512] = "";
      mpi_.explain(error, text, sizeof text);
      Fail(Exit::kLaunch, "MPI_Init_thread: ", text);
    }
    const bool same = launch.rank == place_.rank && launch.size == place_.size &&
                      launch.local_rank == place_.local_rank &&
                      launch.local_size == place_.local_size;
    if (!same && (launch.size > 1 || place_.size > 1)) {
      Fail(Exit::kLaunch, launch.source, " says rank ", launch.rank, " of ", launch.size,
           " (local ", launch.local_rank, " of ", launch.local_size, "), MPI says rank ",
           place_.rank, " of ", place_.size, " (local ", place_.local_rank, " of ",
           place_.local_size,
           "): the launcher belongs to another MPI than the program (a container's?); use the "
           "mpirun of the MPI that whyrec was built with, or srun --mpi=pmix");
    }
  }

  // MPI_Finalize waits for all ranks without a time-out, so the ranks first agree to end. A rank
  // that is unwinding an exception does not wait.
  ~Mpi() override {
    if (std::uncaught_exceptions() > 0) {
      messages_.Stop();
      queue_.Join();
      return;
    }
    try {
      queue_.Drain();
      // Without a time-out: rank 0 may still write what the others helped to make.
      messages_.Meet({{.operation = Operation::kEnd}, ++sequence_, Waiting::kForWork}, rank(),
                     size());
      queue_.Join();
      mpi_.finish();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "whyrec: %s\n", e.what());
      Abort(static_cast<int>(Exit::kLaunch));
    }
  }

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }

  void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place at) override {
    CheckBuffer(at, dtype);
    queue_.Drain();
    ReduceAll(++sequence_, values, count, dtype, op);
  }

  std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype, Reduce op,
                                          Place at) override {
    CheckBuffer(at, dtype);
    return queue_.Start(
        [=, this, sequence = ++sequence_] { ReduceAll(sequence, values, count, dtype, op); });
  }

  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce op,
                     Place at) override {
    CheckBuffer(at, dtype);
    const auto width = static_cast<int64_t>(SizeOf(dtype));
    Sizes bytes;
    for (int64_t n : counts) bytes.push_back(n * width);
    const int64_t total = Total(counts, size());
    Meet({.operation = Operation::kReduceScatter, .dtype = dtype, .reduce = op, .count = total},
         bytes);
    CheckAnnounced(Sizes(counts.size(), bytes[Me()]));
    const int64_t longest = *std::max_element(bytes.begin(), bytes.end());
    const int64_t step = std::max<int64_t>(8, kPiece / size() / 8 * 8);
    for (int64_t begin = 0; begin < longest; begin += step) {
      const auto part = [&](int r) {
        return std::clamp<int64_t>(bytes[Index(r)] - begin, 0, step);
      };
      const int64_t n = part(rank());
      Round round(*this);
      for (int64_t r = 0, offset = begin; r < size(); offset += bytes[Index(r++)])
        round.Send(static_cast<int>(r), At(values, offset), part(static_cast<int>(r)));
      const auto blocks = ReceiveCopies(round, At(values, Offset(bytes, rank()) + begin), n);
      round.Exchange();
      if (n > 0) ReduceInOrder(At(own, begin), blocks, n / width, dtype, op);
    }
  }

  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at) override {
    CheckBuffer(at, DType::kF32);
    const int64_t total = Total(bytes, size());
    MeetWithBlock({.operation = Operation::kAllGatherInto, .count = total}, own, bytes[Me()]);
    CheckAnnounced(bytes);
    Gather(own, [&](int r) { return At(all, Offset(bytes, r)); });
  }

  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    MeetWithBlock({.operation = Operation::kAllGather}, bytes, static_cast<int64_t>(n));
    std::vector<std::vector<std::byte>> out;
    for (int r = 0; r < size(); ++r) out.emplace_back(static_cast<size_t>(messages_.Announced(r)));
    Gather(bytes, [&](int r) { return out[Index(r)].data(); });
    return out;
  }

  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place at) override {
    CheckBuffer(at, DType::kF32);
    Total(send, size());
    Total(receive, size());
    Meet({.operation = Operation::kAllToAll}, send);
    CheckAnnounced(receive);
    Round round(*this);
    for (int r = 0; r < size(); ++r) {
      round.Send(r, At(in, Offset(send, r)), send[Index(r)]);
      round.Receive(r, At(out, Offset(receive, r)), receive[Index(r)]);
    }
    if (send[Me()] > 0)
      std::memcpy(At(out, Offset(receive, rank())), At(in, Offset(send, rank())),
                  static_cast<size_t>(send[Me()]));
    round.Exchange();
  }

  // Short buffers are part of the meeting. For long ones the root sends a slice to each rank, and
  // each rank sends its slice to all others: about n bytes sent and received per rank, whatever the
  // number of ranks.
  void Broadcast(void* bytes, size_t n, int root, Place at) override {
    CheckBuffer(at, DType::kF32);
    WR_CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    const auto count = static_cast<int64_t>(n);
    const bool small = count <= Messages::Inline(size());
    Meet({.operation = Operation::kBroadcast, .root = root, .count = count}, {},
         small && rank() == root ? std::span(At(bytes, 0), n) : std::span<std::byte>());
    if (small) {
      if (n > 0) std::memcpy(bytes, messages_.Payload(root), n);
      return;
    }
    const auto slice = [&](int r) { return At(bytes, SliceBegin(count, size(), r)); };
    Round deal(*this), pass(*this);
    for (int r = 0; r < size(); ++r) {
      const int64_t length = slice(r + 1) - slice(r);
      if (rank() == root) deal.Send(r, slice(r), length);
      if (rank() == r && rank() != root) deal.Receive(root, slice(r), length);
      if (r != root) pass.Send(r, slice(rank()), slice(rank() + 1) - slice(rank()));
      if (rank() != root) pass.Receive(r, slice(r), length);
    }
    deal.Exchange();
    pass.Exchange();
  }

  void Barrier(Waiting waiting) override {
    queue_.Drain();
    messages_.Meet({{.operation = Operation::kBarrier}, ++sequence_, waiting}, rank(), size());
  }

  // MPI_Abort tells the launcher; ends the process anyway when MPI does not return.
  void Abort(int code) override {
    std::fflush(nullptr);
    std::thread([code] {
      std::this_thread::sleep_for(std::chrono::seconds(3));
      _exit(code);
    }).detach();
    mpi_.abort(code);
    _exit(code);
  }

 private:
  // The messages of one exchange; nothing is sent to oneself.
  class Round {
   public:
    explicit Round(Mpi& mpi) : mpi_(mpi) {}
    void Send(int to, const std::byte* bytes, int64_t n) {
      if (to != mpi_.rank()) sends_.push_back({to, const_cast<std::byte*>(bytes), n});
    }
    void Receive(int from, std::byte* bytes, int64_t n) {
      if (from != mpi_.rank()) receives_.push_back({from, bytes, n});
    }
    void Exchange() { mpi_.messages_.Exchange(sends_, receives_); }

   private:
    Mpi& mpi_;
    std::vector<Message> sends_, receives_;
  };

  static size_t Index(int64_t rank) { return static_cast<size_t>(rank); }
  size_t Me() const { return Index(rank()); }

  static void CheckBuffer(const Place& at, DType dtype) {
    CheckReducible(dtype);
    WR_CHECK(at.kind == Place::Kind::kHost, "Mpi takes host buffers");
  }

  void Meet(const Call& call, const Sizes& sends = {}, std::span<const std::byte> payload = {}) {
    queue_.Drain();
    messages_.Meet({call, ++sequence_, Waiting::kInStep, sends, payload}, rank(), size());
  }

  // A small block goes with the envelope.
  void MeetWithBlock(const Call& call, const void* own, int64_t n) {
    const bool small = n <= Messages::Inline(size());
    Meet(call, Sizes(Index(size()), n),
         small ? std::span(At(own, 0), Index(n)) : std::span<std::byte>());
  }

  // What the others are going to send here.
  void CheckAnnounced(const Sizes& expected) const {
    for (int r = 0; r < size(); ++r) {
      if (messages_.Announced(r) != expected[Index(r)])
        Fail(Exit::kLaunch, "rank ", rank(), " of ", size(), " gives up operation ", sequence_,
             ": rank ", r, " sends ", messages_.Announced(r), " bytes to rank ", rank(),
             ", which expects ", expected[Index(r)]);
    }
  }

  // After MeetWithBlock: rank r's block to place(r).
  template <typename PlaceOf>
  void Gather(const void* own, const PlaceOf& place) {
    Round round(*this);
    const int64_t limit = Messages::Inline(size()), mine = messages_.Announced(rank());
    for (int r = 0; r < size(); ++r) {
      const int64_t n = messages_.Announced(r);
      if (mine > limit) round.Send(r, At(own, 0), mine);
      if (n > limit && r != rank()) {
        round.Receive(r, place(r), n);
      } else if (n > 0 && !(r == rank() && own == place(r))) {
        std::memcpy(place(r), r == rank() ? own : messages_.Payload(r), Index(n));
      }
    }
    round.Exchange();
  }

  // Receives n bytes from each rank into scratch memory; this rank's are in `own`. By rank.
  std::vector<const void*> ReceiveCopies(Round& round, const std::byte* own, int64_t n) {
    scratch_.resize(std::max(scratch_.size(), Index(n * size())));
    std::vector<const void*> blocks;
    for (int r = 0; r < size(); ++r) {
      std::byte* block = scratch_.data() + n * r;
      round.Receive(r, block, n);
      blocks.push_back(r == rank() ? own : block);
    }
    return blocks;
  }

  // On the caller's thread or the queue's, never on both at a time.
  void ReduceAll(int64_t sequence, void* values, int64_t count, DType dtype, Reduce op) {
    const auto width = static_cast<int64_t>(SizeOf(dtype));
    const bool small = count * width <= Messages::Inline(size());
    Messages::Meeting mine = {
        {.operation = Operation::kAllReduce, .dtype = dtype, .reduce = op, .count = count},
        sequence};
    if (small) mine.payload = {At(values, 0), Index(count * width)};
    messages_.Meet(mine, rank(), size());
    if (!small) return ReduceLarge(values, count, dtype, op);
    // Everybody has everything and adds it.
    std::vector<const void*> blocks;
    for (int r = 0; r < size(); ++r) blocks.push_back(messages_.Payload(r));
    ReduceInOrder(values, blocks, count, dtype, op);
  }

  // Rank r receives slice r of a piece from everybody, adds, and sends the sums to all together
  // with the next piece's slices: each rank receives about twice the bytes, whatever the number of
  // ranks.
  void ReduceLarge(void* values, int64_t count, DType dtype, Reduce op) {
    const auto width = static_cast<int64_t>(SizeOf(dtype));
    const int64_t step = kPiece / width, pieces = (count + step - 1) / step;
    const auto slice = [&](int64_t piece, int r) {
      const int64_t n = std::min(step, count - piece * step);
      return At(values, (piece * step + SliceBegin(n, size(), r)) * width);
    };
    const auto length = [&](int64_t piece, int r) { return slice(piece, r + 1) - slice(piece, r); };
    for (int64_t piece = 0; piece <= pieces; ++piece) {
      Round round(*this);
      std::vector<const void*> blocks;
      if (piece < pieces) {
        blocks = ReceiveCopies(round, slice(piece, rank()), length(piece, rank()));
        for (int r = 0; r < size(); ++r) round.Send(r, slice(piece, r), length(piece, r));
      }
      for (int r = 0; r < size() && piece > 0; ++r) {
        round.Send(r, slice(piece - 1, rank()), length(piece - 1, rank()));
        round.Receive(r, slice(piece - 1, r), length(piece - 1, r));
      }
      round.Exchange();
      if (piece < pieces)
        ReduceInOrder(slice(piece, rank()), blocks, length(piece, rank()) / width, dtype, op);
    }
  }

  const WhyrecMpiTable& mpi_;
  WhyrecMpiPlace place_ = {};
  Messages messages_;
  int64_t sequence_ = 0;
  std::vector<std::byte> scratch_;
  Queue queue_;  // last: it ends before what its jobs use
};

}  // namespace

const WhyrecMpiTable& MpiTable() {
  void* table = OpenModule("whyrec_mpi", "whyrec_mpi_table", "several ranks need MPI",
                           "install Open MPI and build with it, or start one rank");
  return *reinterpret_cast<decltype(&whyrec_mpi_table)>(table)();
}

std::unique_ptr<Communicator> MakeMpi(const CommunicatorOptions& options) {
  return std::make_unique<Mpi>(options);
}

}  // namespace whyrec::cluster
