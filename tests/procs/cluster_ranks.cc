// One rank of a job for procs/cluster_test.cc: `mpi` or `conform` to run the checks, or a way to
// die.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/cluster/conformance.h"

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

}  // namespace
}  // namespace whyrec::cluster

int main(int argc, char** argv) try {
  using namespace whyrec::cluster;
  const std::string what = argc > 1 ? argv[1] : "conform";
  const auto comm = what == "mpi" ? MakeMpi() : Connect(ReadLaunch());  // mpi: also on one rank
  if (what == "mpi" || what == "conform") {
    Conform(*comm);
  } else {
    LastRankDies(*comm, what);
  }
  return 0;
} catch (const whyrec::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return static_cast<int>(e.code());
}
