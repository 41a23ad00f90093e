// What the tests of Phi and of its adapters read, and which rows of the answer they keep.
#pragma once

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "src/base/rng.h"

namespace whyrec::lm {

// A draw of its own for every `sample`, whichever tests ran before.
inline at::Tensor SomeIds(int64_t n, uint64_t sample = 0) {
  const at::Tensor ids = at::zeros({n}, at::kLong);
  Rng rng(1, "ids", 0, sample);
  for (int64_t i = 0; i < n; ++i) ids.mutable_data_ptr<int64_t>()[i] = rng.Between(0, 489);
  return ids;
}

// The rows that the golden files keep.
inline at::Tensor SomeRows(const at::Tensor& x) {
  return x.index_select(0, at::tensor(std::vector<int64_t>{0, 17, x.size(0) - 1}));
}

}  // namespace whyrec::lm
