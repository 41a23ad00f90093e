// One rank of a job for procs/cluster_test.cc: `mpi` or `conform` to run the checks, or a way to
// go wrong; the second argument is then the longest message, in bytes. `doctor FOLDER`: its checks.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "cluster/doctor.h"
#include "tests/cluster/collective/conformance.h"

namespace whyrec::cluster {
namespace {

void Conform(Communicator& comm) {
  for (const Check& check : kConformance) {
    check.run(comm);
    if (comm.rank() == 0) std::printf("%s holds on %d ranks\n", check.name, comm.size());
  }
}

// The others wait in an operation that never completes.
void LastRankDies(Communicator& comm, const std::string& how) {
  comm.Barrier();
  if (comm.rank() == comm.size() - 1) {
    if (how == "kill") std::raise(SIGKILL);
    if (how == "abort") comm.Abort(70);
    Fail(Exit::kData, "the last rank's own reason");
  }
  comm.Barrier();
  std::printf("rank %d passed a barrier without the last rank\n", comm.rank());
}

// The last rank freezes: before an operation, or inside a long one (it stops itself from another
// thread while the others send).
void LastRankStops(Communicator& comm, const std::string& how) {
  comm.Barrier();
  const bool last = comm.rank() == comm.size() - 1;
  std::vector<float> values(how == "stop-inside" ? 30 << 20 : 1000);
  const auto stop = [] {
    std::raise(SIGSTOP);
    std::_Exit(1);  // mpirun wakes whom it ends: that is no coming
  };
  if (last && how != "stop-inside") stop();
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (last && how == "stop-inside") stop();
  });
  if (how == "stop-barrier") comm.Barrier();
  if (how == "stop-broadcast") comm.Broadcast(values.data(), 4000, comm.size() - 1);
  if (how == "stop-started" || how == "stop-inside")
    comm.StartAllReduce(values.data(), std::ssize(values), DType::kF32, Reduce::kSum)->Wait();
  std::printf("rank %d went on without the last rank\n", comm.rank());
}

void LastRankLosesStep(Communicator& comm, const std::string& how) {
  const bool last = comm.rank() == comm.size() - 1;
  float x = 1;
  if (how == "other-call" && last) comm.AllReduce(&x, 1, DType::kF32, Reduce::kSum);
  if (how == "ends-early" && last) return;
  comm.Barrier();
}

// Longer than the time-out, which a barrier for work does not have.
void LastRankWorks(Communicator& comm) {
  comm.Barrier();
  if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(std::chrono::seconds(3));
  comm.Barrier(Waiting::kForWork);
  if (comm.rank() == 0) std::printf("the work is done\n");
}

}  // namespace
}  // namespace whyrec::cluster

int main(int argc, char** argv) try {
  using namespace whyrec::cluster;
  const std::string what = argc > 1 ? argv[1] : "conform";
  if (what == "doctor") return Doctor({.folder = argv[2], .seconds = 10}, std::cout);
  CommunicatorOptions options;
  if (argc > 2) options.message_bytes = std::atoll(argv[2]);
  if (what == "joined") options = {.device = argv[2]};
  if (what.starts_with("stop") || what == "works") options.seconds = 2;
  // mpi: also on one rank
  const auto comm = what == "mpi" ? MakeMpi(options) : Connect(ReadLaunch(), options);
  if (what == "mpi" || what == "conform" || what == "joined") {
    Conform(*comm);
  } else if (what.starts_with("stop")) {
    LastRankStops(*comm, what);
  } else if (what == "other-call" || what == "ends-early") {
    LastRankLosesStep(*comm, what);
  } else if (what == "works") {
    LastRankWorks(*comm);
  } else {
    LastRankDies(*comm, what);
  }
  return 0;
} catch (const whyrec::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return static_cast<int>(e.code());
}
