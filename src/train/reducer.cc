#include "src/train/reducer.h"

#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>

namespace whyrec::train {
namespace {

constexpr int64_t kBucketBytes = 32 << 20;

void SumBucket(std::vector<at::Tensor>& gradients, cluster::Communicator& comm) {
  if (gradients.empty()) return;
  std::vector<at::Tensor> flat;
  for (const at::Tensor& g : gradients) flat.push_back(g.reshape({-1}));
  at::Tensor bucket = at::cat(flat);
  const DType dtype = bucket.scalar_type() == at::kDouble ? DType::kF64 : DType::kF32;
  comm.AllReduce(bucket.data_ptr(), bucket.numel(), dtype, cluster::Reduce::kSum);
  int64_t at = 0;
  for (const at::Tensor& g : gradients) {
    g.copy_(bucket.narrow(0, at, g.numel()).view(g.sizes()));
    at += g.numel();
  }
  gradients.clear();
}

}  // namespace

void SumGradients(const nn::Parameters& parameters, cluster::Communicator& comm) {
  if (comm.size() == 1) return;
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> bucket;
  int64_t bytes = 0;
  for (const auto& [path, p] : parameters.all()) {
    if (!p.grad().defined()) continue;
    bucket.push_back(p.grad());
    bytes += p.grad().nbytes();
    if (bytes < kBucketBytes) continue;
    SumBucket(bucket, comm);
    bytes = 0;
  }
  SumBucket(bucket, comm);
}

double Sum(double value, cluster::Communicator& comm) {
  comm.AllReduce(&value, 1, DType::kF64, cluster::Reduce::kSum);
  return value;
}

}  // namespace whyrec::train
