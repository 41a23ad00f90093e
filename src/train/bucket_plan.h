// All-reduce buckets: which gradients of a task are summed in one call, and in which order.
#pragma once

#include <vector>

#include "src/nn/parameters.h"

namespace whyrec::train {

// Parameters are named by their place in Parameters::all().
struct Bucket {
  std::vector<size_t> parameters;
  int64_t count = 0;  // values
};

struct BucketPlan {
  std::vector<Bucket> buckets;     // they start in this order on every rank
  std::vector<size_t> tables;      // summed by rows, as long as that takes fewer bytes
  std::vector<int64_t> bucket_of;  // by parameter
  static constexpr int64_t kTable = -1, kOutside = -2;  // outside: the task has no gradient for it

  // Its rows have become too many: from the next step on it has a bucket of its own, the last.
  void MakeDense(size_t table, int64_t count);
};

// `order`: the parameters with gradients, those that arrive first in front. A bucket is closed when
// it reaches `bucket_bytes` and holds one type and device.
BucketPlan MakeBucketPlan(const nn::Parameters& parameters, const std::vector<size_t>& order,
                          const std::vector<size_t>& tables, int64_t bucket_bytes);

}  // namespace whyrec::train
