// Parameters: an ordered map from path ("encoder.block.0.layer.0.SelfAttention.q.weight") to
// tensor. Models register theirs under the names of the published checkpoints where there are any.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/base/rng.h"
#include "src/nn/at.h"

namespace whyrec::nn {

class Parameters {
 public:
  explicit Parameters(at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU)
      : dtype_(dtype), device_(device) {}

  // A zero-filled leaf, which requires a gradient if trainable. Error(kInternal) when the path is
  // taken.
  at::Tensor Add(const std::string& path, at::IntArrayRef shape, bool trainable = true);
  at::Tensor Get(const std::string& path) const;  // Error(kInternal) names the nearest path
  bool Has(const std::string& path) const;
  const std::vector<std::pair<std::string, at::Tensor>>& all() const { return all_; }
  int64_t Count() const;  // values

  at::ScalarType dtype() const { return dtype_; }
  at::Device device() const { return device_; }

 private:
  at::ScalarType dtype_;
  at::Device device_;
  std::vector<std::pair<std::string, at::Tensor>> all_;
  std::map<std::string, size_t> index_;  // path to place in all_
};

// Initial values from the counter-based generator, keyed by seed and path: they do not depend on
// the rank or on the order of calls. FillUniform draws from [-bound, bound].
void FillNormal(at::Tensor parameter, const std::string& path, uint64_t seed, double stddev);
void FillUniform(at::Tensor parameter, const std::string& path, uint64_t seed, double bound);
void Fill(at::Tensor parameter, double value);

}  // namespace whyrec::nn
