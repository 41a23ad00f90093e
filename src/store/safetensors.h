// safetensors files: u64 header length, JSON header, data. Reading maps the file; tensors borrow
// from it.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "src/base/host_tensor.h"

namespace whyrec::store {

using TensorMap = std::map<std::string, HostTensor>;

// `file`: one safetensors file, or a folder with model.safetensors or model.safetensors.index.json.
// Error(kData) names the file and the cause: truncated, header not JSON, wrong offsets, overlaps,
// gaps, unknown dtype, sizes that overflow. Bytes after the last tensor only cause a warning. The
// tensors may be modified: the mapping is private, so the file does not change. Do not overwrite a
// file in place while tensors borrow from it; WriteSafetensors makes a new file, which is safe.
TensorMap ReadSafetensors(const std::filesystem::path& file);

// Writes (temporary name, fsync, rename) with __metadata__ {"format": "pt"}. Tensors are ordered by
// decreasing element size, then by name. Error(kCannotWrite).
void WriteSafetensors(const std::filesystem::path& file, const TensorMap& tensors);

}  // namespace whyrec::store
