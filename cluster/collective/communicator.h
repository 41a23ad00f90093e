// Collectives over raw buffers. One interface for one rank (Self), N threads of a process (Thread,
// for tests), N processes (Mpi) and N GPUs (Nccl); ranks call the same operations in the same
// order. Errors and time-outs: docs/communicators.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/host_tensor.h"

namespace whyrec::cluster {

enum class Reduce { kSum, kMax };

// Where an operation's buffers live. A host operation is over when it returns. One on a device
// takes its turn on `stream` (a cudaStream_t; null: the default stream): it may return before.
struct Place {
  enum class Kind { kHost, kCuda };
  Kind kind = Kind::kHost;
  int index = 0;  // of the device
  void* stream = nullptr;
};

struct Options {
  // Longest wait without any progress. The first operation also waits for ranks that still start.
  double seconds = 300, first_seconds = 900;
  // Buffers travel in messages of at most this size: MPI counts in an int, and a transfer that is
  // slow but alive shows as progress.
  int64_t message_bytes = 64 << 20;
  // Where the ranks' tensors live (DeviceName's `wanted`), for Connect; "cpu": host buffers alone.
  std::string device = "cpu";
};

// Who a barrier waits for: ranks in step, or ranks that may be at work for hours (no time-out).
enum class Waiting { kInStep, kForWork };

// An operation under way; its buffer belongs to it until Wait() returns.
class Pending {
 public:
  virtual ~Pending() = default;  // waits, if nobody did
  virtual void Wait() = 0;       // throws what the operation would have thrown
};

using Sizes = std::vector<int64_t>;  // one per rank

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // In place over `count` values: kF32, kF64, kI64; kBF16 and kF16, added in fp32 and rounded once.
  // Self, Thread and Mpi add in rank order: the same bits on every rank and in every run.
  virtual void AllReduce(void* values, int64_t count, DType dtype, Reduce op, Place at = {}) = 0;
  // The same while the caller goes on. Every rank starts its operations in the same order; Wait()
  // order is free.
  virtual std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype,
                                                  Reduce op, Place at = {}) = 0;
  // `values` are the ranks' slices one after the other, counts[r] values for rank r; `own` becomes
  // this rank's slice, reduced. Types and order as AllReduce. The buffers do not overlap.
  virtual void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype,
                             Reduce op, Place at = {}) = 0;
  // The ranks' blocks one after the other in `all`, bytes[r] from rank r. `own` may be this rank's
  // place in `all`.
  virtual void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at = {}) = 0;
  // Host blocks whose sizes only their ranks know.
  virtual std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) = 0;
  // Block r of `in` (send[r] bytes) goes to rank r; block r of `out` (receive[r] bytes) comes from
  // it. The buffers do not overlap.
  virtual void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                        Place at = {}) = 0;
  virtual void Broadcast(void* bytes, size_t n, int root, Place at = {}) = 0;
  virtual void Barrier(Waiting waiting = Waiting::kInStep) = 0;
  // Ends every rank of the job with this exit code (the process itself when alone).
  [[noreturn]] virtual void Abort(int code) = 0;
};

// One rank: every operation is a copy or nothing.
std::unique_ptr<Communicator> MakeSelf();

// Runs `body(communicator)` on `ranks` threads and joins them; the first exception is rethrown, and
// the other ranks leave their pending operation with an Error(kLaunch).
void RunThreads(int ranks, const std::function<void(Communicator&)>& body,
                const Options& options = {});

// Opens the MPI module beside the program (libwhyrec_mpi.so) and initialises MPI, once per process.
// Error(kLaunch) when the module or MPI is missing, or when MPI's rank and size differ from the
// launcher's environment. A time-out ends the job with code 71.
std::unique_ptr<Communicator> MakeMpi(const Options& options = {});

// Device buffers over NCCL, host buffers over `host`, which must outlive it and also carries NCCL's
// first address. All ranks call it. Error(kLaunch) when the module (libwhyrec_nccl.so), the driver
// or NCCL is missing, when ranks have different versions or share a GPU. A time-out ends the job
// with code 71.
std::unique_ptr<Communicator> MakeNccl(Communicator& host, int device, const Options& options = {});

// What the launcher says: Open MPI first, then Slurm's PMIx; one rank when nobody says anything.
struct Launch {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  std::string source = "alone";  // "Open MPI", "Slurm"
};
Launch ReadLaunch();
// Of a process that joins no communicator (a worker of leased work, a single command): its local
// rank also under launchers that ReadLaunch refuses, such as srun --mpi=none.
Launch ReadLocalLaunch();

// The device this rank takes of those it sees: the only one, or the one of its local rank.
// Error(kLaunch) when there are fewer than ranks on this host.
int ChooseDevice(const Launch& launch, int visible);

// The device of this process by name, "cpu" or "cuda:2". `wanted`: "cpu"; "cuda:N", that of the
// `visible` ones; "cuda", the one of the local rank; "auto", that one or, where none is visible,
// "cpu". Error(kUsage) for another text; Error(kLaunch), with `why_none`, when a device is wanted
// that is not there.
std::string DeviceName(const std::string& wanted, const Launch& launch, int visible,
                       const std::string& why_none = "no CUDA device is visible");

// For several ranks MakeMpi(), with NCCL for devices where options.device says so (by_place.h);
// MakeSelf() alone.
std::unique_ptr<Communicator> Connect(const Launch& launch, const Options& options = {});

}  // namespace whyrec::cluster
