#include "src/nn/row_hash.h"

#include <ATen/ops/arange.h>

namespace whyrec::nn {
namespace {

// int32 tensors represent unsigned numbers: products wrap the same way, and shifts clear the sign
// bits that they copy.
at::Tensor MixAll(at::Tensor x) {
  const auto shifted = [&](int bits) {
    return x.__rshift__(bits).bitwise_and_(static_cast<int32_t>(~0U >> bits));
  };
  x = x.bitwise_xor(shifted(kMixShifts[0])).mul_(static_cast<int32_t>(kMixFactors[0]));
  x.bitwise_xor_(shifted(kMixShifts[1])).mul_(static_cast<int32_t>(kMixFactors[1]));
  return x.bitwise_xor_(shifted(kMixShifts[2]));
}

}  // namespace

at::Tensor ElementHashes(const at::Tensor& keys, uint32_t site, int64_t columns) {
  const at::Tensor steps = at::arange(columns, keys.options()) * static_cast<int32_t>(kColumn);
  return MixAll(MixAll(keys + static_cast<int32_t>(site)).unsqueeze(-1) + steps);
}

}  // namespace whyrec::nn
