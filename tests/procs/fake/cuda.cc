// A driver without a GPU, found as libcuda.so.1 by procs/nccl_ranks.cc: device memory is host
// memory and streams do everything at once. FAKE_DEVICES: how many there are.
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {
int Devices() {
  const char* n = std::getenv("FAKE_DEVICES");
  return n == nullptr ? 8 : std::atoi(n);
}
}  // namespace

extern "C" {
struct FakeUuid {
  unsigned char bytes[16];
};
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuDeviceGetCount(int* n) { return *n = Devices(), 0; }
int cuDeviceGet(int* device, int index) { return *device = index, index < Devices() ? 0 : 101; }
int cuDeviceGetName(char* name, int n, int) { return std::strncpy(name, "Fake", n), 0; }
int cuDeviceGetUuid_v2(FakeUuid* uuid, int device) {
  std::memset(uuid, device, sizeof *uuid);
  return 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = size_t{1} << 30, 0; }
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = nullptr, 0; }
int cuCtxSetCurrent(void*) { return 0; }
int cuMemAlloc_v2(void** bytes, size_t n) { return *bytes = std::malloc(n), 0; }
int cuMemFree_v2(void* bytes) { return std::free(bytes), 0; }
int cuMemcpyAsync(void* to, const void* from, size_t n, void*) {
  return std::memcpy(to, from, n), 0;
}
int cuStreamSynchronize(void*) { return 0; }
int cuStreamCreate(void** stream, unsigned) { return *stream = nullptr, 0; }
int cuEventCreate(void** event, unsigned) { return *event = nullptr, 0; }
int cuEventRecord(void*, void*) { return 0; }
int cuStreamWaitEvent(void*, void*, unsigned) { return 0; }
int cuEventQuery(void*) { return 0; }
int cuEventDestroy_v2(void*) { return 0; }
int cuGetErrorString(int error, const char** text) {
  return *text = error == 101 ? "invalid device ordinal" : "fake error", 0;
}
}
