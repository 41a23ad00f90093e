#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <numeric>

#include "cluster/mpi_table.h"
#include "cluster/reduce.h"

namespace whyrec::cluster {
namespace {

// Buffers travel in pieces of this size: MPI counts bytes in an int, and scratch memory stays
// small.
constexpr int64_t kPiece = 4 << 20;
// Below this much to gather, one exchange costs less than two.
constexpr int64_t kSmall = 32 << 10;

const WhyrecMpiTable& Table() {
  constexpr const char* kName = "libwhyrec_mpi.so";
  std::error_code ignored;
  const auto beside =
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / kName;
  // RTLD_GLOBAL: MPI's own plug-ins look for the symbols of the library that the module brings
  // along.
  void* module = dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL);
  std::string why = module == nullptr ? dlerror() : "";
  if (module == nullptr && !std::filesystem::exists(beside)) {
    module = dlopen(kName, RTLD_NOW | RTLD_GLOBAL);
  }
  if (module == nullptr) {
    Fail(Exit::kLaunch, "several ranks need MPI, but ", why,
         "; install Open MPI and build with it, or start one rank");
  }
  auto table = reinterpret_cast<decltype(&whyrec_mpi_table)>(dlsym(module, "whyrec_mpi_table"));
  if (table == nullptr) Fail(Exit::kLaunch, dlerror());
  return *table();
}

// Where each rank's bytes stand in a buffer, one after the other.
struct Layout {
  explicit Layout(std::vector<int> c) : counts(std::move(c)), offsets(counts.size()) {
    std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
  }
  int total() const { return offsets.back() + counts.back(); }
  std::vector<int> counts, offsets;
};

class Mpi final : public Communicator {
 public:
  Mpi() : mpi_(Table()) {
    const Launch launch = ReadLaunch();  // first: MPI adds to the environment
    Call("MPI_Init_thread", mpi_.start(&place_));
    const bool same = launch.rank == place_.rank && launch.size == place_.size &&
                      launch.local_rank == place_.local_rank &&
                      launch.local_size == place_.local_size;
    if (!same && (launch.size > 1 || place_.size > 1)) {
      Fail(Exit::kLaunch, launch.source, " says rank ", launch.rank, " of ", launch.size,
           " (local ", launch.local_rank, " of ", launch.local_size, "), MPI says rank ",
           place_.rank, " of ", place_.size, " (local ", place_.local_rank, " of ",
           place_.local_size,
           "): the launcher belongs to another MPI than the program (a container's?); use the "
           "mpirun of "
           "the MPI that whyrec was built with, or srun --mpi=pmix");
    }
  }

  ~Mpi() override {
    // MPI_Finalize waits for all ranks; one that is failing must not.
    if (std::uncaught_exceptions() == 0) mpi_.finish();
  }

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }

  void AllReduce(void* values, int64_t count, DType dtype, Reduce op) override {
    Begin("AllReduce");
    Accumulate(values, values, 0, dtype, op);  // checks the type
    const auto width = static_cast<int64_t>(SizeOf(dtype));
    const int64_t step = kPiece / width;
    for (int64_t at = 0; at < count; at += step) {
      auto* piece = static_cast<std::byte*>(values) + at * width;
      const int64_t n = std::min(step, count - at);
      if (n * width * size() <= kSmall) {
        ReduceSmall(piece, n, dtype, op);
      } else {
        ReducePiece(piece, n, dtype, op);
      }
    }
  }

  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    Begin("AllGather");
    const auto ranks = static_cast<size_t>(size());
    std::vector<int64_t> sizes(ranks);
    const auto own = static_cast<int64_t>(n);
    Gather(&own, sizes.data(), Layout(std::vector<int>(ranks, sizeof own)));
    std::vector<std::vector<std::byte>> out;
    for (int64_t s : sizes) out.emplace_back(static_cast<size_t>(s));
    const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
    const int64_t step = kPiece / size();
    for (int64_t at = 0; at < longest; at += step) {
      std::vector<int> counts;
      for (int64_t s : sizes)
        counts.push_back(static_cast<int>(std::clamp<int64_t>(s - at, 0, step)));
      const Layout layout(std::move(counts));
      const std::byte* mine = static_cast<const std::byte*>(bytes) + std::min(at, own);
      Gather(mine, Scratch(layout.total()), layout);
      for (size_t r = 0; r < ranks; ++r) {
        if (layout.counts[r] == 0) continue;
        std::memcpy(out[r].data() + at, scratch_.data() + layout.offsets[r],
                    static_cast<size_t>(layout.counts[r]));
      }
    }
    return out;
  }

  void Broadcast(void* bytes, size_t n, int root) override {
    Begin("Broadcast");
    WR_CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    for (size_t at = 0; at < n; at += kPiece) {
      const int piece = static_cast<int>(std::min<size_t>(kPiece, n - at));
      Call("MPI_Bcast", mpi_.broadcast(static_cast<std::byte*>(bytes) + at, piece, root));
    }
  }

  void Barrier() override {
    Begin("Barrier");
    Call("MPI_Barrier", mpi_.barrier());
  }

  void Abort(int code) override {
    std::fflush(nullptr);
    mpi_.abort(code);
    std::_Exit(code);
  }

 private:
  void Begin(const char* operation) {
    operation_ = operation;
    ++sequence_;
  }

  void Call(const char* function, int error) const {
    if (error == 0) return;
    char text[512] = "";
    mpi_.explain(error, text, sizeof text);
    Fail(Exit::kLaunch, "rank ", place_.rank, " of ", place_.size, " gives up ", operation_,
         ", operation ", sequence_, ": ", function, ": ", text);
  }

  std::byte* Scratch(int bytes) {
    scratch_.resize(std::max(scratch_.size(), static_cast<size_t>(bytes)));
    return scratch_.data();
  }

  // mine == nullptr: this rank's bytes already stand at their place in `all`.
  void Gather(const void* mine, void* all, const Layout& layout) {
    Call("MPI_Allgatherv", mpi_.all_gather(mine, layout.counts[static_cast<size_t>(rank())], all,
                                           layout.counts.data(), layout.offsets.data()));
  }

  // Everybody receives everything and adds it in rank order.
  void ReduceSmall(std::byte* values, int64_t n, DType dtype, Reduce op) {
    const int bytes = static_cast<int>(n) * static_cast<int>(SizeOf(dtype));
    const Layout layout(std::vector<int>(static_cast<size_t>(size()), bytes));
    std::byte* all = Scratch(layout.total());
    Gather(values, all, layout);
    for (int r = 1; r < size(); ++r)
      Accumulate(all, all + layout.offsets[static_cast<size_t>(r)], n, dtype, op);
    std::memcpy(values, all, static_cast<size_t>(bytes));
  }

  // Rank r receives slice r from everybody, adds in rank order, and all gather the results: each
  // rank receives about twice the piece, whatever the number of ranks.
  void ReducePiece(std::byte* values, int64_t n, DType dtype, Reduce op) {
    const auto width = static_cast<int>(SizeOf(dtype));
    std::vector<int> counts;
    for (int r = 0; r < size(); ++r) {
      counts.push_back(static_cast<int>(SliceBegin(n, size(), r + 1) - SliceBegin(n, size(), r)) *
                       width);
    }
    const Layout slices(std::move(counts));
    const auto me = static_cast<size_t>(rank());
    const Layout copies(std::vector<int>(static_cast<size_t>(size()), slices.counts[me]));
    std::byte* sum = Scratch(copies.total());
    Call("MPI_Alltoallv", mpi_.all_to_all(values, slices.counts.data(), slices.offsets.data(), sum,
                                          copies.counts.data(), copies.offsets.data()));
    for (int r = 1; r < size(); ++r) {
      Accumulate(sum, sum + copies.offsets[static_cast<size_t>(r)], slices.counts[me] / width,
                 dtype, op);
    }
    std::memcpy(values + slices.offsets[me], sum, static_cast<size_t>(slices.counts[me]));
    Gather(nullptr, values, slices);
  }

  const WhyrecMpiTable& mpi_;
  WhyrecMpiPlace place_ = {};
  const char* operation_ = "the start";
  int64_t sequence_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::unique_ptr<Communicator> MakeMpi() { return std::make_unique<Mpi>(); }

}  // namespace whyrec::cluster
