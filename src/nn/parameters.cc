#include "src/nn/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/tensor/parallel.h"

namespace whyrec::nn {
namespace {

// Blocks have their own stream each, so they can be filled by any number of threads.
constexpr int64_t kBlock = 1 << 14;

template <typename Draw>
void FillBlocks(const at::Tensor& parameter, const std::string& path, uint64_t seed,
                const Shard* shard, Draw draw) {
  const int64_t width = parameter.dim() == 2 ? parameter.size(1) : 1;
  const int64_t n = shard ? shard->map->size() * width : parameter.numel();
  const at::Tensor flat = parameter.detach().view(-1);
  tensor::ParallelFor((n + kBlock - 1) / kBlock, [&](int64_t begin, int64_t end) {
    const c10::NoGradGuard no_grad;
    const at::Tensor drawn = at::empty({kBlock}, at::kDouble);
    double* out = drawn.mutable_data_ptr<double>();
    for (int64_t block = begin; block < end; ++block) {
      Rng rng(seed, path, 0, static_cast<uint64_t>(block));
      const int64_t first = block * kBlock, last = std::min(n, first + kBlock);
      for (int64_t i = first; i < last; ++i) out[i - first] = draw(rng);
      if (!shard) {
        flat.narrow(0, first, last - first).copy_(drawn.narrow(0, 0, last - first));
        continue;
      }
      for (int64_t row = first / width; row * width < last; ++row) {  // perhaps a part of it
        const Place place = shard->map->Of(row);
        if (place.owner != shard->part) continue;
        const int64_t low = std::max(first, row * width), high = std::min(last, (row + 1) * width);
        flat.narrow(0, place.row * width + low - row * width, high - low)
            .copy_(drawn.narrow(0, low - first, high - low));
      }
    }
  });
}

size_t CommonPrefix(const std::string& a, const std::string& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

}  // namespace

at::Tensor Parameters::Add(const std::string& path, at::IntArrayRef shape, bool trainable) {
  WR_CHECK(index_.emplace(path, all_.size()).second, "'", path, "' is registered twice");
  at::Tensor tensor = at::zeros(shape, at::TensorOptions().dtype(dtype_).device(device_));
  tensor.set_requires_grad(trainable);
  all_.emplace_back(path, tensor);
  return tensor;
}

void Parameters::Distribute(const std::string& path, Shard shard) {
  at::Tensor& tensor = all_[index_.at(path)].second;
  WR_CHECK(tensor.size(0) == shard.map->size(), "'", path, "' has ", tensor.size(0), " rows");
  const bool trainable = tensor.requires_grad();
  tensor = at::zeros({std::ssize(shard.rows()), tensor.size(1)}, tensor.options());
  tensor.set_requires_grad(trainable);
  shards_.emplace(path, std::move(shard));
}

const Shard* Parameters::ShardOf(const std::string& path) const {
  const auto found = shards_.find(path);
  return found == shards_.end() ? nullptr : &found->second;
}

at::Tensor Parameters::Get(const std::string& path) const {
  if (const auto found = index_.find(path); found != index_.end())
    return all_[found->second].second;
  std::string nearest = "nothing is registered";
  if (!all_.empty()) {
    const auto best = std::max_element(all_.begin(), all_.end(), [&](const auto& a, const auto& b) {
      return CommonPrefix(a.first, path) < CommonPrefix(b.first, path);
    });
    nearest = "the nearest is '" + best->first + "'";
  }
  Fail(Exit::kInternal, "no parameter '", path, "'; ", nearest);
}

bool Parameters::Has(const std::string& path) const { return index_.contains(path); }

int64_t Parameters::Count() const {
  int64_t count = 0;
  for (const auto& [path, tensor] : all_) {
    const Shard* shard = ShardOf(path);
    count += shard ? shard->map->size() * tensor.size(1) : tensor.numel();
  }
  return count;
}

void FillNormal(at::Tensor parameter, const std::string& path, uint64_t seed, double stddev,
                const Shard* shard) {
  FillBlocks(parameter, path, seed, shard, [stddev](Rng& rng) { return rng.Normal() * stddev; });
}

void FillUniform(at::Tensor parameter, const std::string& path, uint64_t seed, double bound) {
  FillBlocks(parameter, path, seed, nullptr,
             [bound](Rng& rng) { return (2 * rng.Uniform() - 1) * bound; });
}

void Fill(at::Tensor parameter, double value) {
  const c10::NoGradGuard no_grad;
  parameter.fill_(value);
}

}  // namespace whyrec::nn
