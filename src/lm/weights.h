// Reads and writes published checkpoints, checking names, shapes, dtypes and that values are
// finite.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::lm {

// A model's one table from published parameter names to our tensors, in the order of the network.
using NameTable = std::vector<std::pair<std::string, at::Tensor>>;

// What published files hold beyond the table.
struct Dialect {
  std::vector<std::string> prefixes;  // names may begin with one of them ("bert.")
  std::vector<std::pair<std::string, std::string>>
      endings;  // old and today's (".gamma", ".weight")
  // Tensors to skip, such as copies and unused heads: names, or prefixes when they end in '*'.
  std::vector<std::string> ignored;
};

// Fills the table's tensors, casting to their dtype and device. `folder` holds model.safetensors or
// its index and shards. Error(kData) names the first tensor that is missing, unknown, given twice,
// of another shape or not finite, and the file.
void LoadWeights(const std::filesystem::path& folder, const NameTable& table,
                 const Dialect& dialect = {});

// As config.json names the type of the weights ("torch_dtype").
const char* TorchTypeName(at::ScalarType type);

// model.safetensors, or shards and their index when it would pass `shard_bytes`.
void SaveWeights(const std::filesystem::path& folder, const NameTable& table,
                 int64_t shard_bytes = 5'000'000'000);

}  // namespace whyrec::lm
