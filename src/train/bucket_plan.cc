#include "src/train/bucket_plan.h"

#include <algorithm>

namespace whyrec::train {

BucketPlan MakeBucketPlan(const nn::Parameters& parameters, const std::vector<size_t>& order,
                          const std::vector<size_t>& tables, int64_t bucket_bytes) {
  const auto& all = parameters.all();
  BucketPlan plan{.buckets = {},
                  .tables = tables,
                  .bucket_of = std::vector<int64_t>(all.size(), BucketPlan::kOutside)};
  for (const size_t table : tables) plan.bucket_of[table] = BucketPlan::kTable;
  int64_t bytes = bucket_bytes;  // of the last bucket; the first parameter opens one
  for (const size_t p : order) {
    if (plan.bucket_of[p] == BucketPlan::kTable) continue;
    const at::Tensor& tensor = all[p].second;
    const auto fits = [&] {
      const at::Tensor& first = all[plan.buckets.back().parameters.front()].second;
      return bytes < bucket_bytes && first.scalar_type() == tensor.scalar_type() &&
             first.device() == tensor.device();
    };
    if (plan.buckets.empty() || !fits()) {
      plan.buckets.emplace_back();
      bytes = 0;
    }
    plan.buckets.back().parameters.push_back(p);
    plan.buckets.back().count += tensor.numel();
    plan.bucket_of[p] = std::ssize(plan.buckets) - 1;
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return plan;
}

void BucketPlan::MakeDense(size_t table, int64_t count) {
  std::erase(tables, table);
  bucket_of[table] = std::ssize(buckets);
  buckets.push_back({{table}, count});
}

}  // namespace whyrec::train
