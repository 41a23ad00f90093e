// Parameters: an ordered map from path ("encoder.block.0.layer.0.SelfAttention.q.weight") to
// tensor. Models register theirs under the names of the published checkpoints where there are any.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/base/node_map.h"
#include "src/base/rng.h"
#include "src/nn/at.h"

namespace whyrec::nn {

// What a rank holds of a table whose rows are distributed: row j of the tensor is the row
// rows()[j] of the table.
struct Shard {
  std::shared_ptr<const NodeMap> map;
  int part = 0;
  const std::vector<int32_t>& rows() const { return map->nodes[static_cast<size_t>(part)]; }
};

class Parameters {
 public:
  explicit Parameters(at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU)
      : dtype_(dtype), device_(device) {}

  // A zero-filled leaf, which requires a gradient if trainable. Error(kInternal) when the path is
  // taken.
  at::Tensor Add(const std::string& path, at::IntArrayRef shape, bool trainable = true);
  // Before anything is stored in it: of the table [shard.map->size(), width] only this rank's rows
  // are kept. Its gradient is this rank's affair: no other rank has one for these rows.
  void Distribute(const std::string& path, Shard shard);
  const Shard* ShardOf(const std::string& path) const;  // null: every rank holds all of it
  // Of a table that every rank holds: its gradient is the sum over the ranks already, because the
  // system adds up the few rows that were read.
  void MarkSummed(const std::string& path) { summed_.insert(path); }
  // Whether the sum of gradients over the ranks leaves it out: a shard, or summed already.
  bool IsApart(const std::string& path) const { return ShardOf(path) || summed_.contains(path); }
  at::Tensor Get(const std::string& path) const;  // Error(kInternal) names the nearest path
  bool Has(const std::string& path) const;
  const std::vector<std::pair<std::string, at::Tensor>>& all() const { return all_; }
  int64_t Count() const;  // values, those of other ranks' shards included

  at::ScalarType dtype() const { return dtype_; }
  at::Device device() const { return device_; }

 private:
  at::ScalarType dtype_;
  at::Device device_;
  std::vector<std::pair<std::string, at::Tensor>> all_;
  std::map<std::string, size_t> index_;  // path to place in all_
  std::map<std::string, Shard> shards_;
  std::set<std::string> summed_;
};

// Initial values from the counter-based generator, keyed by seed and path: they do not depend on
// the rank or on the order of calls. FillUniform draws from [-bound, bound]. With a shard: the rows
// that it holds of the whole table's values.
void FillNormal(at::Tensor parameter, const std::string& path, uint64_t seed, double stddev,
                const Shard* shard = nullptr);
void FillUniform(at::Tensor parameter, const std::string& path, uint64_t seed, double bound);
void Fill(at::Tensor parameter, double value);

}  // namespace whyrec::nn
