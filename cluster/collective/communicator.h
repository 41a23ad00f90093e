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

// Where an operation's buffers are. A host operation is complete when the call returns. A device
// operation is enqueued on `stream` (a cudaStream_t; null: the default stream), and the call may
// return earlier.
struct Place {
  enum class Kind { kHost, kCuda };
  Kind kind = Kind::kHost;
  int index = 0;  // of the device
  void* stream = nullptr;
};

struct CommunicatorOptions {
  // Longest wait without any progress, in seconds. The first operation also waits for ranks that
  // are still starting.
  double seconds = 300, first_seconds = 900;
  // Buffers travel in messages of at most this size: MPI counts in an int, and a transfer that is
  // slow but alive shows as progress.
  int64_t message_bytes = 64 << 20;
  // Where the ranks' tensors are, for Connect: DeviceName's `wanted`. "cpu": host buffers only.
  std::string device = "cpu";
};

// Whether a barrier times out: kInStep does; kForWork waits for ranks that may work for hours.
enum class Waiting { kInStep, kForWork };

// An asynchronous operation. Its buffer must not be touched until Wait() returns.
class Pending {
 public:
  virtual ~Pending() = default;  // waits, unless Wait() was called
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
  // The same, asynchronously. Every rank must start its operations in the same order; Wait() may be
  // called in any order.
  virtual std::unique_ptr<Pending> StartAllReduce(void* values, int64_t count, DType dtype,
                                                  Reduce op, Place at = {}) = 0;
  // `values`: the ranks' slices, concatenated, counts[r] values for rank r. `own` receives this
  // rank's slice, reduced. Types and order as AllReduce. The buffers must not overlap.
  virtual void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype,
                             Reduce op, Place at = {}) = 0;
  // `all` receives the ranks' blocks, concatenated, bytes[r] from rank r. `own` may be this rank's
  // part of `all`.
  virtual void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at = {}) = 0;
  // The same for host blocks whose sizes the other ranks do not know.
  virtual std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) = 0;
  // Block r of `in` (send[r] bytes) goes to rank r; block r of `out` (receive[r] bytes) comes from
  // it. The buffers must not overlap.
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
                const CommunicatorOptions& options = {});

// Opens the MPI module beside the program (libwhyrec_mpi.so) and initialises MPI, once per process.
// Error(kLaunch) when the module or MPI is missing, or when MPI's rank and size differ from the
// launcher's environment. A time-out ends the job with code 71.
std::unique_ptr<Communicator> MakeMpi(const CommunicatorOptions& options = {});

// Device buffers over NCCL, host buffers over `host`, which must outlive it and also carries NCCL's
// first address. All ranks call it. Error(kLaunch) when the module (libwhyrec_nccl.so), the driver
// or NCCL is missing, when ranks have different versions or share a GPU. A time-out ends the job
// with code 71.
std::unique_ptr<Communicator> MakeNccl(Communicator& host, int device,
                                       const CommunicatorOptions& options = {});

// Rank and size from the launcher's environment: Open MPI's, else Slurm's PMIx; one rank without
// either.
struct Launch {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  std::string source = "alone";  // "Open MPI", "Slurm"
};
Launch ReadLaunch();
// The same for a process that joins no communicator (a lease worker, a single command): also reads
// the local rank under launchers that ReadLaunch refuses, such as srun --mpi=none.
Launch ReadLocalLaunch();

// The number of the GPU this rank uses among the visible ones: the only one, or the one with its
// local rank. Error(kLaunch) when this host has fewer GPUs than ranks.
int ChooseDevice(const Launch& launch, int visible);

// The device of this process by name, "cpu" or "cuda:2". `wanted`: "cpu"; "cuda:N", that of the
// `visible` ones; "cuda", the one of the local rank; "auto", that one or, where none is visible,
// "cpu". Error(kUsage) for another text; Error(kLaunch), with `why_none`, when a device is wanted
// that is not there.
std::string DeviceName(const std::string& wanted, const Launch& launch, int visible,
                       const std::string& why_none = "no CUDA device is visible");

// For several ranks MakeMpi(), with NCCL for devices where options.device says so (by_place.h);
// MakeSelf() alone.
std::unique_ptr<Communicator> Connect(const Launch& launch,
                                      const CommunicatorOptions& options = {});

}  // namespace whyrec::cluster
