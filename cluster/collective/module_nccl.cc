// libwhyrec_nccl.so: the CUDA driver and NCCL behind nccl_table.h. Declares the few functions it
// uses itself (CUDA driver API, NCCL 2), so it needs no headers of theirs.
#include <dlfcn.h>
#include <link.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "cluster/collective/nccl_table.h"

namespace {

thread_local std::string last_failure;

int Refuse(const std::string& why) {
  last_failure = why;
  return -1;
}

template <typename Function>
bool Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

// --- the driver ----------------------------------------------------------------------------------

struct Uuid {
  unsigned char bytes[16];
};

struct Cuda {
  int (*init)(unsigned);
  int (*driver_version)(int*);
  int (*device_count)(int*);
  int (*device)(int*, int);
  int (*name)(char*, int, int);
  int (*uuid)(Uuid*, int);
  int (*memory)(size_t*, int);
  int (*retain)(void**, int);
  int (*set_current)(void*);
  int (*allocate)(void**, size_t);  // CUdeviceptr has a pointer's size
  int (*release)(void*);
  int (*copy)(void*, const void*, size_t, void*);
  int (*synchronise)(void*);
  int (*make_stream)(void**, unsigned);
  int (*make_event)(void**, unsigned);
  int (*record)(void*, void*);
  int (*wait_for)(void*, void*, unsigned);
  int (*query)(void*);
  int (*drop_event)(void*);
  int (*error_text)(int, const char**);
  std::string missing;  // why there is no driver
};

Cuda OpenCuda() {
  Cuda cuda{};
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    cuda.missing = dlerror();
    return cuda;
  }
  const bool found =
      Find(library, "cuInit", cuda.init) &&
      Find(library, "cuDriverGetVersion", cuda.driver_version) &&
      Find(library, "cuDeviceGetCount", cuda.device_count) &&
      Find(library, "cuDeviceGet", cuda.device) && Find(library, "cuDeviceGetName", cuda.name) &&
      // v2 tells the slices of a divided GPU apart.
      (Find(library, "cuDeviceGetUuid_v2", cuda.uuid) ||
       Find(library, "cuDeviceGetUuid", cuda.uuid)) &&
      Find(library, "cuDeviceTotalMem_v2", cuda.memory) &&
      Find(library, "cuDevicePrimaryCtxRetain", cuda.retain) &&
      Find(library, "cuCtxSetCurrent", cuda.set_current) &&
      Find(library, "cuMemAlloc_v2", cuda.allocate) &&
      Find(library, "cuMemFree_v2", cuda.release) && Find(library, "cuMemcpyAsync", cuda.copy) &&
      Find(library, "cuStreamSynchronize", cuda.synchronise) &&
      Find(library, "cuStreamCreate", cuda.make_stream) &&
      Find(library, "cuEventCreate", cuda.make_event) &&
      Find(library, "cuEventRecord", cuda.record) &&
      Find(library, "cuStreamWaitEvent", cuda.wait_for) &&
      Find(library, "cuEventQuery", cuda.query) &&
      Find(library, "cuEventDestroy_v2", cuda.drop_event) &&
      Find(library, "cuGetErrorString", cuda.error_text);
  if (!found) cuda.missing = std::string("libcuda.so.1: ") + dlerror();
  if (const int error = found ? cuda.init(0) : 0; error != 0) {
    const char* text = "unknown error";
    cuda.error_text(error, &text);
    cuda.missing = std::string("cuInit: ") + text;
  }
  return cuda;
}

const Cuda& TheCuda() {
  static const Cuda cuda = OpenCuda();
  return cuda;
}

// Calls one of the driver's functions, or says why there is none.
template <typename... Parameters, typename... Arguments>
int Drive(const char* name, int (*Cuda::*function)(Parameters...), Arguments... arguments) {
  const Cuda& cuda = TheCuda();
  if (!cuda.missing.empty()) return Refuse(cuda.missing);
  const int error = (cuda.*function)(arguments...);
  if (error == 0) return 0;
  const char* text = "unknown error";
  cuda.error_text(error, &text);
  Refuse(std::string(name) + ": " + text);
  return error;
}

int DeviceCount(int* count, int* cuda_version) {
  if (const int error = Drive("cuDriverGetVersion", &Cuda::driver_version, cuda_version))
    return error;
  return Drive("cuDeviceGetCount", &Cuda::device_count, count);
}

int Describe(int index, WhyrecDevice* out) {
  int device = 0;
  Uuid uuid{};
  size_t bytes = 0;
  int error = Drive("cuDeviceGet", &Cuda::device, &device, index);
  if (error == 0)
    error = Drive("cuDeviceGetName", &Cuda::name, out->name, static_cast<int>(sizeof out->name),
                  device);
  if (error == 0) error = Drive("cuDeviceGetUuid", &Cuda::uuid, &uuid, device);
  if (error == 0) error = Drive("cuDeviceTotalMem", &Cuda::memory, &bytes, device);
  if (error != 0) return error;
  out->bytes = static_cast<int64_t>(bytes);
  char* at = out->uuid + std::snprintf(out->uuid, sizeof out->uuid, "GPU");
  for (int i = 0; i < 16; ++i) {
    const bool dash = i == 0 || i == 4 || i == 6 || i == 8 || i == 10;
    at += std::snprintf(at, 4, "%s%02x", dash ? "-" : "", uuid.bytes[i]);
  }
  return 0;
}

// The primary context: the one that CUDA's runtime, LibTorch and NCCL work in.
int UseDevice(int index) {
  int device = 0;
  void* context = nullptr;
  int error = Drive("cuDeviceGet", &Cuda::device, &device, index);
  if (error == 0) error = Drive("cuDevicePrimaryCtxRetain", &Cuda::retain, &context, device);
  return error != 0 ? error : Drive("cuCtxSetCurrent", &Cuda::set_current, context);
}

int Allocate(void** bytes, int64_t n) {
  return Drive("cuMemAlloc", &Cuda::allocate, bytes, static_cast<size_t>(n));
}
int Release(void* bytes) { return Drive("cuMemFree", &Cuda::release, bytes); }
int Copy(void* to, const void* from, int64_t n, void* stream) {
  return Drive("cuMemcpyAsync", &Cuda::copy, to, from, static_cast<size_t>(n), stream);
}
int Synchronise(void* stream) { return Drive("cuStreamSynchronize", &Cuda::synchronise, stream); }
constexpr unsigned kNonBlocking = 1;    // CU_STREAM_NON_BLOCKING
constexpr unsigned kDisableTiming = 2;  // CU_EVENT_DISABLE_TIMING
int MakeStream(void** stream) {
  return Drive("cuStreamCreate", &Cuda::make_stream, stream, kNonBlocking);
}
int MakeEvent(void** event) {
  return Drive("cuEventCreate", &Cuda::make_event, event, kDisableTiming);
}
int Record(void* event, void* stream) {
  return Drive("cuEventRecord", &Cuda::record, event, stream);
}
int WaitFor(void* stream, void* event) {
  return Drive("cuStreamWaitEvent", &Cuda::wait_for, stream, event, 0u);
}
int Query(void* event, int* done) {
  constexpr int kNotReady = 600;  // CUDA_ERROR_NOT_READY
  const int error = Drive("cuEventQuery", &Cuda::query, event);
  *done = error == 0;
  return error == kNotReady ? 0 : error;
}
int DropEvent(void* event) { return Drive("cuEventDestroy", &Cuda::drop_event, event); }

// --- NCCL ----------------------------------------------------------------------------------------

struct UniqueId {  // ncclUniqueId, passed by value
  char bytes[128];
};

struct Nccl {
  int (*version)(int*);
  int (*unique_id)(UniqueId*);
  int (*join)(void**, int, UniqueId, int);
  int (*all_reduce)(const void*, void*, size_t, int, int, void*, void*);
  int (*reduce)(const void*, void*, size_t, int, int, int, void*, void*);
  int (*broadcast)(const void*, void*, size_t, int, int, void*, void*);
  int (*send)(const void*, size_t, int, int, void*, void*);
  int (*receive)(void*, size_t, int, int, void*, void*);
  int (*group_start)();
  int (*group_end)();
  int (*async_error)(void*, int*);
  int (*abort)(void*);
  int (*destroy)(void*);
  const char* (*error_text)(int);
  const char* (*last_error)(void*);  // since 2.13; else null
  std::string missing;
};

// The wheels put NCCL beside LibTorch: <...>/torch/lib and <...>/nvidia/nccl/lib.
int NoteLibTorch(dl_phdr_info* info, size_t, void* folder) {
  const char* at = std::strstr(info->dlpi_name, "/libtorch_cpu.so");
  if (at == nullptr) return 0;
  static_cast<std::string*>(folder)->assign(info->dlpi_name, at);
  return 1;
}

void* OpenNcclLibrary(std::string& why) {
  // A copy that LibTorch has loaded already is found by this name as well.
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  why = dlerror();
  std::string folder;
  dl_iterate_phdr(NoteLibTorch, &folder);
  if (folder.empty()) return nullptr;
  return dlopen((folder + "/../../nvidia/nccl/lib/libnccl.so.2").c_str(), RTLD_NOW | RTLD_LOCAL);
}

Nccl OpenNccl() {
  Nccl nccl{};
  void* library = OpenNcclLibrary(nccl.missing);
  if (library == nullptr) return nccl;
  nccl.missing.clear();
  const bool found =
      Find(library, "ncclGetVersion", nccl.version) &&
      Find(library, "ncclGetUniqueId", nccl.unique_id) &&
      Find(library, "ncclCommInitRank", nccl.join) &&
      Find(library, "ncclAllReduce", nccl.all_reduce) && Find(library, "ncclReduce", nccl.reduce) &&
      Find(library, "ncclBroadcast", nccl.broadcast) && Find(library, "ncclSend", nccl.send) &&
      Find(library, "ncclRecv", nccl.receive) &&
      Find(library, "ncclGroupStart", nccl.group_start) &&
      Find(library, "ncclGroupEnd", nccl.group_end) &&
      Find(library, "ncclCommGetAsyncError", nccl.async_error) &&
      Find(library, "ncclCommAbort", nccl.abort) &&
      Find(library, "ncclCommDestroy", nccl.destroy) &&
      Find(library, "ncclGetErrorString", nccl.error_text);
  if (!found) nccl.missing = std::string("libnccl.so.2: ") + dlerror();
  Find(library, "ncclGetLastError", nccl.last_error);
  return nccl;
}

const Nccl& TheNccl() {
  static const Nccl nccl = OpenNccl();
  return nccl;
}

int NoteError(const char* name, int error) {
  if (error == 0) return 0;
  const Nccl& nccl = TheNccl();
  std::string why = std::string(name) + ": " + nccl.error_text(error);
  const char* more = nccl.last_error != nullptr ? nccl.last_error(nullptr) : "";
  if (more != nullptr && *more != '\0') why += std::string(" (") + more + ")";
  Refuse(why + "; NCCL_DEBUG=WARN tells more");
  return error;
}

template <typename... Parameters, typename... Arguments>
int Ask(const char* name, int (*Nccl::*function)(Parameters...), Arguments... arguments) {
  if (!TheNccl().missing.empty()) return Refuse(TheNccl().missing);
  return NoteError(name, (TheNccl().*function)(arguments...));
}

int OperationOf(int max) { return max ? 2 : 0; }  // ncclMax, ncclSum

int Version(int* version) { return Ask("ncclGetVersion", &Nccl::version, version); }
int MakeId(char id[128]) {
  UniqueId made{};
  const int error = Ask("ncclGetUniqueId", &Nccl::unique_id, &made);
  std::memcpy(id, made.bytes, sizeof made.bytes);
  return error;
}
int Join(void** comm, int size, const char id[128], int rank) {
  UniqueId given{};
  std::memcpy(given.bytes, id, sizeof given.bytes);
  return Ask("ncclCommInitRank", &Nccl::join, comm, size, given, rank);
}
int AllReduce(void* values, int64_t count, int type, int max, void* comm, void* stream) {
  return Ask("ncclAllReduce", &Nccl::all_reduce, values, values, static_cast<size_t>(count), type,
             OperationOf(max), comm, stream);
}
int ReduceTo(const void* values, void* own, int64_t count, int type, int max, int root, void* comm,
             void* stream) {
  return Ask("ncclReduce", &Nccl::reduce, values, own, static_cast<size_t>(count), type,
             OperationOf(max), root, comm, stream);
}
int Broadcast(void* bytes, int64_t n, int root, void* comm, void* stream) {
  return Ask("ncclBroadcast", &Nccl::broadcast, bytes, bytes, static_cast<size_t>(n),
             int{kWhyrecNcclU8}, root, comm, stream);
}
int Send(const void* bytes, int64_t n, int to, void* comm, void* stream) {
  return Ask("ncclSend", &Nccl::send, bytes, static_cast<size_t>(n), int{kWhyrecNcclU8}, to, comm,
             stream);
}
int Receive(void* bytes, int64_t n, int from, void* comm, void* stream) {
  return Ask("ncclRecv", &Nccl::receive, bytes, static_cast<size_t>(n), int{kWhyrecNcclU8}, from,
             comm, stream);
}
int GroupStart() { return Ask("ncclGroupStart", &Nccl::group_start); }
int GroupEnd() { return Ask("ncclGroupEnd", &Nccl::group_end); }
int Check(void* comm) {
  int state = 0;
  if (const int error = Ask("ncclCommGetAsyncError", &Nccl::async_error, comm, &state))
    return error;
  constexpr int kInProgress = 7;
  return state == kInProgress ? 0 : NoteError("NCCL", state);
}
int AbortComm(void* comm) { return Ask("ncclCommAbort", &Nccl::abort, comm); }
int Leave(void* comm) { return Ask("ncclCommDestroy", &Nccl::destroy, comm); }

const char* Explain() { return last_failure.c_str(); }

constexpr WhyrecNcclTable kTable = {
    .explain = Explain,
    .device_count = DeviceCount,
    .describe = Describe,
    .use_device = UseDevice,
    .allocate = Allocate,
    .release = Release,
    .copy = Copy,
    .synchronise = Synchronise,
    .make_stream = MakeStream,
    .make_event = MakeEvent,
    .record = Record,
    .wait_for = WaitFor,
    .query = Query,
    .drop_event = DropEvent,
    .version = Version,
    .unique_id = MakeId,
    .join = Join,
    .all_reduce = AllReduce,
    .reduce = ReduceTo,
    .broadcast = Broadcast,
    .send = Send,
    .receive = Receive,
    .group_start = GroupStart,
    .group_end = GroupEnd,
    .check = Check,
    .abort = AbortComm,
    .leave = Leave,
};

}  // namespace

extern "C" const WhyrecNcclTable* whyrec_nccl_table() { return &kTable; }
