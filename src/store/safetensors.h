// safetensors files: u64 header length, JSON header, data. Reading maps the file; tensors borrow
// from it.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "src/base/host_tensor.h"

namespace whyrec::store {

using TensorMap = std::map<std::string, HostTensor>;

// `file` is one safetensors file, or a folder with model.safetensors or
// model.safetensors.index.json. Throws Error(kData) naming file and cause: truncated, header that
// is not JSON or lies about offsets, overlaps, gaps, unknown dtype, sizes that overflow. Bytes
// after the last tensor are only warned about. Tensors may be changed: the map is private, so the
// file stays as it is. Do not write over a file while tensors borrow from it; WriteSafetensors
// makes a new one, which is safe.
TensorMap ReadSafetensors(const std::filesystem::path& file);

// Writes (temporary name, fsync, rename) with __metadata__ {"format": "pt"}; tensors by falling
// element size, then in name order.
void WriteSafetensors(const std::filesystem::path& file, const TensorMap& tensors);

}  // namespace whyrec::store
