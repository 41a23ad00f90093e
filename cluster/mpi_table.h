// What libwhyrec_mpi.so offers: plain C over raw buffers, so that the module links MPI and nothing
// of ours, and the program links no MPI. Counts and offsets are bytes, one per rank. Functions
// return 0 or an MPI error code for `explain`.
#pragma once

extern "C" {

struct WhyrecMpiPlace {
  int rank, size, local_rank, local_size;  // local: among the ranks that share this host's memory
};

struct WhyrecMpiTable {
  int (*start)(struct WhyrecMpiPlace* place);  // once per process
  int (*all_to_all)(const void* in, const int* in_counts, const int* in_offsets, void* out,
                    const int* out_counts, const int* out_offsets);
  // in == NULL: this rank's block already stands at its place in `out`.
  int (*all_gather)(const void* in, int n, void* out, const int* counts, const int* offsets);
  int (*broadcast)(void* bytes, int n, int root);
  int (*barrier)(void);
  int (*finish)(void);
  void (*abort)(int code);
  void (*explain)(int error, char* text, int capacity);
};

const struct WhyrecMpiTable* whyrec_mpi_table(void);
}
