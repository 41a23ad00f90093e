// Tensors of the ranks as one safetensors file, whoever holds which rows. The file does not say by
// how many ranks it was written, so any number can load it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"
#include "src/nn/parameters.h"

namespace whyrec::train {

struct NamedTensor {
  std::string name;
  at::Tensor value;
  const nn::Shard* shard = nullptr;  // null: every rank holds all of it
};
using NamedTensors = std::vector<NamedTensor>;
NamedTensors Named(const nn::Parameters& parameters);

// All ranks call it with the same names, and wait for the complete file. Rank 0 writes what every
// rank holds; of distributed tables each rank writes ranges of rows, which it collects from their
// owners: at most kRowsAtOnce at a time. Error(kCannotWrite).
inline constexpr int64_t kRowsAtOnce = 1 << 14;
void SaveTensors(const NamedTensors& tensors, const std::filesystem::path& file,
                 cluster::Communicator& comm);
// Copies them back: of a distributed table the rows that this rank holds. Missing, unknown or
// misshapen: Error(kData).
void LoadTensors(const NamedTensors& tensors, const std::filesystem::path& file);

}  // namespace whyrec::train
