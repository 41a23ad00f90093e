// libwhyrec_mpi.so: MPI behind mpi_table.h.
#include <mpi.h>

#include <cstdio>

#include "cluster/mpi_table.h"

namespace {

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

int AllToAll(const void* in, const int* in_counts, const int* in_offsets, void* out,
             const int* out_counts, const int* out_offsets) {
  return MPI_Alltoallv(in, in_counts, in_offsets, MPI_BYTE, out, out_counts, out_offsets, MPI_BYTE,
                       MPI_COMM_WORLD);
}

int AllGather(const void* in, int n, void* out, const int* counts, const int* offsets) {
  return MPI_Allgatherv(in == nullptr ? MPI_IN_PLACE : in, n, MPI_BYTE, out, counts, offsets,
                        MPI_BYTE, MPI_COMM_WORLD);
}

int Broadcast(void* bytes, int n, int root) {
  return MPI_Bcast(bytes, n, MPI_BYTE, root, MPI_COMM_WORLD);
}

int Barrier() { return MPI_Barrier(MPI_COMM_WORLD); }

void Abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

void Explain(int error, char* text, int capacity) {
  char full[MPI_MAX_ERROR_STRING] = "";
  int n = 0;
  MPI_Error_string(error, full, &n);
  std::snprintf(text, static_cast<size_t>(capacity), "%s", full);
}

constexpr WhyrecMpiTable kTable = {Start,   AllToAll,     AllGather, Broadcast,
                                   Barrier, MPI_Finalize, Abort,     Explain};

}  // namespace

extern "C" const WhyrecMpiTable* whyrec_mpi_table() { return &kTable; }
