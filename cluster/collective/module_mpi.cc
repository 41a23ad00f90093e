// libwhyrec_mpi.so: MPI behind mpi_table.h.
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "cluster/collective/mpi_table.h"

namespace {

// By slot; MPI_REQUEST_NULL once ended. MPI exists once per process, and so does this.
std::vector<MPI_Request>& Slots() {
  static std::vector<MPI_Request> slots;
  return slots;
}

MPI_Request* Slot(int slot) {
  const auto index = static_cast<size_t>(slot);
  if (Slots().size() <= index) Slots().resize(index + 1, MPI_REQUEST_NULL);
  return &Slots()[index];
}

int Start(WhyrecMpiPlace* place) {
  int provided = 0;
  int error = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  if (error != MPI_SUCCESS) return error;
  // One call at a time, from any thread, is what a communicator needs.
  if (provided < MPI_THREAD_SERIALIZED) return MPI_ERR_OTHER;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &place->rank);
  MPI_Comm_size(MPI_COMM_WORLD, &place->size);
  MPI_Comm host;
  error =
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, place->rank, MPI_INFO_NULL, &host);
  if (error != MPI_SUCCESS) return error;
  MPI_Comm_rank(host, &place->local_rank);
  MPI_Comm_size(host, &place->local_size);
  return MPI_Comm_free(&host);
}

int Send(int slot, const void* bytes, int n, int to, int tag) {
  return MPI_Isend(bytes, n, MPI_BYTE, to, tag, MPI_COMM_WORLD, Slot(slot));
}

int Receive(int slot, void* bytes, int n, int from, int tag) {
  return MPI_Irecv(bytes, n, MPI_BYTE, from, tag, MPI_COMM_WORLD, Slot(slot));
}

int Test(int slots, int* done) {
  static std::vector<int> indices;
  static std::vector<MPI_Status> statuses;
  indices.resize(static_cast<size_t>(slots));
  statuses.resize(static_cast<size_t>(slots));
  int ended = 0;
  const int error = MPI_Testsome(slots, Slots().data(), &ended, indices.data(), statuses.data());
  *done = static_cast<int>(std::count(Slots().begin(), Slots().begin() + slots, MPI_REQUEST_NULL));
  for (int i = 0; error == MPI_ERR_IN_STATUS && i < ended; ++i) {
    const int reason = statuses[static_cast<size_t>(i)].MPI_ERROR;
    if (reason != MPI_SUCCESS && reason != MPI_ERR_PENDING) return reason;
  }
  return error;
}

int HasEnded(int slot) { return *Slot(slot) == MPI_REQUEST_NULL; }

void Abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

void Explain(int error, char* text, int capacity) {
  char full[MPI_MAX_ERROR_STRING] = "";
  int n = 0;
  MPI_Error_string(error, full, &n);
  std::snprintf(text, static_cast<size_t>(capacity), "%s", full);
}

void Version(char* text, int capacity) {
  char full[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int n = 0;
  MPI_Get_library_version(full, &n);
  full[std::strcspn(full, "\n,")] = '\0';
  std::snprintf(text, static_cast<size_t>(capacity), "%s", full);
}

constexpr WhyrecMpiTable kTable = {Start,        Send,  Receive, Test,   HasEnded,
                                   MPI_Finalize, Abort, Explain, Version};

}  // namespace

extern "C" const WhyrecMpiTable* whyrec_mpi_table() { return &kTable; }
