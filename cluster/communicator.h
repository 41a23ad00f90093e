// Collectives over raw buffers. One interface for one rank (Self), N threads of a process (Thread,
// for tests) and N processes (Mpi); ranks call the same operations in the same order.
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

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // In place over `count` values; kF32, kF64, kI64. Sums are taken in rank order: the same on every
  // rank and in every run.
  virtual void AllReduce(void* values, int64_t count, DType dtype, Reduce op) = 0;
  // Concatenates the ranks' byte blocks in rank order; sizes may differ.
  virtual std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) = 0;
  virtual void Broadcast(void* bytes, size_t n, int root) = 0;
  virtual void Barrier() = 0;
  // Ends every rank of the job with this exit code (the process itself when alone).
  [[noreturn]] virtual void Abort(int code) = 0;
};

// One rank: every operation is a copy or nothing.
std::unique_ptr<Communicator> MakeSelf();

// Runs `body(communicator)` on `ranks` threads and joins them; the first exception is rethrown, and
// the other ranks leave their pending operation with an Error(kLaunch).
void RunThreads(int ranks, const std::function<void(Communicator&)>& body);

// Opens the MPI module beside the program (libwhyrec_mpi.so) and initialises MPI. Error(kLaunch)
// when the module or MPI is missing, or when MPI's rank and size differ from the launcher's
// environment.
std::unique_ptr<Communicator> MakeMpi();

// What the launcher says: Open MPI first, then Slurm's PMIx; one rank when nobody says anything.
struct Launch {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  std::string source = "alone";  // "Open MPI", "Slurm"
};
Launch ReadLaunch();

// MakeMpi() for several ranks, MakeSelf() alone.
std::unique_ptr<Communicator> Connect(const Launch& launch);

}  // namespace whyrec::cluster
