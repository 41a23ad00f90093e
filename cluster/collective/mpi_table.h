// What libwhyrec_mpi.so offers: plain C over raw buffers, so that the module links MPI and nothing
// of ours, and the program links no MPI. Messages are started under a slot number and polled for
// completion, so that the caller can time out. Functions return 0 or an MPI error code for
// `explain`. One thread at a time.
#pragma once

extern "C" {

struct WhyrecMpiPlace {
  int rank, size, local_rank, local_size;  // local: among the ranks that share this host's memory
};

struct WhyrecMpiTable {
  int (*start)(struct WhyrecMpiPlace* place);  // once per process
  // Messages of one sender, receiver and tag arrive in their order; a receiver's n may be larger.
  int (*send)(int slot, const void* bytes, int n, int to, int tag);
  int (*receive)(int slot, void* bytes, int n, int from, int tag);
  // Moves slots [0, slots) on; `done` is how many of them have ended so far.
  int (*test)(int slots, int* done);
  int (*has_ended)(int slot);
  int (*finish)(void);
  void (*abort)(int code);
  void (*explain)(int error, char* text, int capacity);
  void (*version)(char* text, int capacity);  // of the library; before `start` as well
};

const struct WhyrecMpiTable* whyrec_mpi_table(void);
}
