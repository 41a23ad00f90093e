#include "src/nn/row_hash.h"

#include <ATen/ops/arange.h>

namespace whyrec::nn {
namespace {

// int32 tensors stand for unsigned numbers: products wrap alike, shifts lose the copied sign.
at::Tensor MixAll(at::Tensor x) {
  const auto shifted = [&](int bits) {
    return x.__rshift__(bits).bitwise_and_(static_cast<int32_t>(~0U >> bits));
  };
  x = x.bitwise_xor(shifted(kShifts[0])).mul_(static_cast<int32_t>(kFirst));
  x.bitwise_xor_(shifted(kShifts[1])).mul_(static_cast<int32_t>(kSecond));
  return x.bitwise_xor_(shifted(kShifts[2]));
}

}  // namespace

at::Tensor ElementHashes(const at::Tensor& keys, uint32_t site, int64_t columns) {
  const at::Tensor steps = at::arange(columns, keys.options()) * static_cast<int32_t>(kColumn);
  return MixAll(MixAll(keys + static_cast<int32_t>(site)).unsqueeze(-1) + steps);
}

}  // namespace whyrec::nn
