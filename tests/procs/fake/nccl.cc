// NCCL between the threads of one process, found as libnccl.so.2 by procs/nccl_ranks.cc: every
// operation is a set of blocks in one mailbox, and a rank that waits for a block waits for ever.
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

namespace {

using Block = std::vector<unsigned char>;

std::mutex mutex;
std::condition_variable changed;
std::map<std::pair<int, int>, std::deque<Block>> mail;  // by sender and receiver

struct Comm {
  int rank, size;
};

void Post(int from, int to, const void* bytes, size_t n) {
  std::lock_guard lock(mutex);
  const auto* begin = static_cast<const unsigned char*>(bytes);
  mail[{from, to}].emplace_back(begin, begin + n);
  changed.notify_all();
}

int Take(int from, int to, void* bytes, size_t n) {
  std::unique_lock lock(mutex);
  auto& box = mail[{from, to}];
  changed.wait(lock, [&] { return !box.empty(); });
  const Block block = std::move(box.front());
  box.pop_front();
  if (block.size() != n) return 5;
  if (n > 0) std::memcpy(bytes, block.data(), n);
  return 0;
}

// In a group, what is to be received waits until everything has been sent.
struct Wanted {
  int from, to;
  void* bytes;
  size_t n;
};
thread_local int depth = 0;
thread_local std::vector<Wanted> wanted;

struct Reduction {
  const void* values;
  void* own;
  size_t count;
  int type, op, root;
  Comm comm;
};
thread_local std::vector<Reduction> reductions;

template <typename T>
int ReduceAs(const Reduction& r) {
  std::vector<T> sum(r.count), more(r.count);
  for (int rank = 0; rank < r.comm.size; ++rank) {
    auto& into = rank == 0 ? sum : more;
    if (const int error = Take(rank, r.comm.rank, into.data(), r.count * sizeof(T))) return error;
    for (size_t i = 0; i < r.count && rank > 0; ++i)
      sum[i] = r.op == 0 ? static_cast<T>(sum[i] + more[i]) : std::max(sum[i], more[i]);
  }
  if (r.count > 0) std::memcpy(r.own, sum.data(), r.count * sizeof(T));
  return 0;
}

size_t WidthOf(int type) { return type == 7 ? 4 : type == 4 || type == 8 ? 8 : 2; }

int Finish() {
  for (const Wanted& w : wanted)
    if (const int error = Take(w.from, w.to, w.bytes, w.n)) return error;
  wanted.clear();
  for (const Reduction& r : reductions) {
    const int error = r.type == 7        ? ReduceAs<float>(r)
                      : r.type == 8      ? ReduceAs<double>(r)
                      : r.type == 4      ? ReduceAs<int64_t>(r)
                      : r.type == 6      ? ReduceAs<_Float16>(r)
                      : r.comm.size == 1 ? ReduceAs<uint16_t>(r)  // bf16 that nothing is added to
                                         : 4;
    if (error != 0) return error;
  }
  reductions.clear();
  return 0;
}

}  // namespace

extern "C" {
struct FakeId {
  char bytes[128];
};
int ncclGetVersion(int* version) {
  const char* given = std::getenv("FAKE_NCCL");
  return *version = given == nullptr ? 22809 : std::atoi(given), 0;
}
int ncclGetUniqueId(FakeId* id) { return std::memset(id, 7, sizeof *id), 0; }
int ncclCommInitRank(void** comm, int size, FakeId id, int rank) {
  for (char byte : id.bytes)
    if (byte != 7) return 4;
  *comm = new Comm{rank, size};
  return 0;
}
int ncclGroupStart() { return ++depth, 0; }
int ncclGroupEnd() { return --depth == 0 ? Finish() : 0; }
int ncclSend(const void* bytes, size_t n, int, int to, void* comm, void*) {
  return Post(static_cast<Comm*>(comm)->rank, to, bytes, n), 0;
}
int ncclRecv(void* bytes, size_t n, int, int from, void* comm, void*) {
  wanted.push_back({from, static_cast<Comm*>(comm)->rank, bytes, n});
  return depth == 0 ? Finish() : 0;
}
int ncclReduce(const void* values, void* own, size_t count, int type, int op, int root, void* comm,
               void*) {
  const Comm& self = *static_cast<Comm*>(comm);
  Post(self.rank, root, values, count * WidthOf(type));
  if (self.rank == root) reductions.push_back({values, own, count, type, op, root, self});
  return depth == 0 ? Finish() : 0;
}
int ncclAllReduce(const void* values, void* out, size_t count, int type, int op, void* comm,
                  void* stream) {
  const Comm& self = *static_cast<Comm*>(comm);
  ncclGroupStart();
  for (int r = 0; r < self.size; ++r) ncclReduce(values, out, count, type, op, r, comm, stream);
  return ncclGroupEnd();
}
int ncclBroadcast(const void* in, void* out, size_t n, int, int root, void* comm, void*) {
  const Comm& self = *static_cast<Comm*>(comm);
  for (int r = 0; r < self.size && self.rank == root; ++r)
    if (r != root) Post(root, r, in, n);
  return self.rank == root ? 0 : Take(root, self.rank, out, n);
}
int ncclCommGetAsyncError(void*, int* error) { return *error = 0, 0; }
int ncclCommAbort(void*) { return 0; }
int ncclCommDestroy(void* comm) { return delete static_cast<Comm*>(comm), 0; }
const char* ncclGetErrorString(int error) { return error == 5 ? "invalid usage" : "invalid"; }
}
