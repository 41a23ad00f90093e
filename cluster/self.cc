#include <cstdio>
#include <cstdlib>

#include "cluster/reduce.h"

namespace whyrec::cluster {
namespace {

class Self final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void AllReduce(void* values, int64_t, DType dtype, Reduce op) override {
    Accumulate(values, values, 0, dtype, op);  // a type that fails on N ranks fails here too
  }
  std::vector<std::vector<std::byte>> AllGather(const void* bytes, size_t n) override {
    const auto* begin = static_cast<const std::byte*>(bytes);
    return {{begin, begin + n}};
  }
  void Broadcast(void*, size_t, int root) override { WR_CHECK(root == 0, "root ", root); }
  void Barrier() override {}
  void Abort(int code) override {
    std::fflush(nullptr);
    std::_Exit(code);
  }
};

}  // namespace

std::unique_ptr<Communicator> MakeSelf() { return std::make_unique<Self>(); }

}  // namespace whyrec::cluster
