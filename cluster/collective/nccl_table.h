// What libwhyrec_nccl.so offers: plain C over raw buffers. The module opens the CUDA driver
// (libcuda.so.1) and NCCL (libnccl.so.2) when they are first needed and links neither, so it
// compiles and loads everywhere. Functions return 0, or something else and `explain` says why.
#pragma once

#include <stdint.h>

extern "C" {

struct WhyrecDevice {
  char name[128], uuid[48];  // "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", as nvidia-smi prints it
  int64_t bytes;             // of memory
};

enum WhyrecNcclType {  // NCCL's own numbers
  kWhyrecNcclU8 = 1,
  kWhyrecNcclI64 = 4,
  kWhyrecNcclF16 = 6,
  kWhyrecNcclF32 = 7,
  kWhyrecNcclF64 = 8,
  kWhyrecNcclBF16 = 9,
};

struct WhyrecNcclTable {
  const char* (*explain)(void);  // the calling thread's last failure
  // CUDA driver. Streams and events are the runtime's too.
  int (*device_count)(int* count, int* cuda_version);  // 13000: CUDA 13.0
  int (*describe)(int device, struct WhyrecDevice* device_out);
  int (*use_device)(int device);  // in the calling thread
  int (*allocate)(void** bytes, int64_t n);
  int (*release)(void* bytes);
  int (*copy)(void* to, const void* from, int64_t n, void* stream);
  int (*synchronise)(void* stream);
  int (*make_stream)(void** stream);
  int (*make_event)(void** event);
  int (*record)(void* event, void* stream);
  int (*wait_for)(void* stream, void* event);
  int (*query)(void* event, int* done);
  int (*drop_event)(void* event);
  // NCCL
  int (*version)(int* version);  // 22809: 2.28.9
  int (*unique_id)(char id[128]);
  int (*join)(void** comm, int size, const char id[128], int rank);
  int (*all_reduce)(void* values, int64_t count, int type, int max, void* comm, void* stream);
  int (*reduce)(const void* values, void* own, int64_t count, int type, int max, int root,
                void* comm, void* stream);
  int (*broadcast)(void* bytes, int64_t n, int root, void* comm, void* stream);
  int (*send)(const void* bytes, int64_t n, int to, void* comm, void* stream);
  int (*receive)(void* bytes, int64_t n, int from, void* comm, void* stream);
  int (*group_start)(void);
  int (*group_end)(void);
  int (*check)(void* comm);  // an asynchronous error of NCCL
  int (*abort)(void* comm);
  int (*leave)(void* comm);
};

const struct WhyrecNcclTable* whyrec_nccl_table(void);
}
