// The communicator of a single rank: operations are copies or do nothing, but check their arguments
// as with several ranks.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cluster/collective/call.h"
#include "cluster/collective/module.h"
#include "cluster/collective/reduce.h"

namespace whyrec::cluster {
namespace {

// A type or size that fails on N ranks fails here too.
class Self final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void AllReduce(void*, int64_t, DType dtype, Reduce, Place) override { CheckReducible(dtype); }
  std::unique_ptr<Pending> StartAllReduce(void*, int64_t, DType dtype, Reduce, Place) override {
    CheckReducible(dtype);
    return std::make_unique<Done>();
  }
  void ReduceScatter(const void* values, void* own, const Sizes& counts, DType dtype, Reduce,
                     Place at) override {
    CheckReducible(dtype);
    Copy(own, values, Total(counts, 1) * static_cast<int64_t>(SizeOf(dtype)), at);
  }
  void AllGatherInto(const void* own, void* all, const Sizes& bytes, Place at) override {
    Copy(all, own, Total(bytes, 1), at);
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    const auto* begin = static_cast<const std::byte*>(bytes);
    return {{begin, begin + n}};
  }
  void AllToAll(const void* in, const Sizes& send, void* out, const Sizes& receive,
                Place at) override {
    const int64_t sent = Total(send, 1), expected = Total(receive, 1);
    if (sent != expected)
      Fail(Exit::kLaunch, GivesUp(0, 1, {.operation = Operation::kAllToAll}, 1), "rank 0 sends ",
           sent, " bytes to rank 0, which expects ", expected);
    Copy(out, in, sent, at);
  }
  void Broadcast(void*, size_t, int root, Place) override { WR_CHECK(root == 0, "root ", root); }
  void Barrier(Waiting) override {}
  void Abort(int code) override {
    std::fflush(nullptr);
    std::_Exit(code);
  }

 private:
  static void Copy(void* to, const void* from, int64_t n, const Place& at) {
    if (n == 0 || to == from) return;
    if (at.kind == Place::Kind::kHost) {
      std::memcpy(to, from, static_cast<size_t>(n));
      return;
    }
    const WhyrecNcclTable& cuda = NcclTable();
    if (cuda.use_device(at.index) != 0 || cuda.copy(to, from, n, at.stream) != 0)
      Fail(Exit::kLaunch, "a copy on device ", at.index, " failed: ", cuda.explain());
  }
};

}  // namespace

std::unique_ptr<Communicator> MakeSelf() { return std::make_unique<Self>(); }

}  // namespace whyrec::cluster
