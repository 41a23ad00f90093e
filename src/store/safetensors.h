// safetensors files: u64 header length, JSON header, data. Reading maps the file; tensors borrow
// from it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

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

// The same file written in parts, by one process or by several that share the disk: one creates it,
// then each writes what it has, and syncs. Whoever created it renames it into place in the end.
class SafetensorsParts {
 public:
  struct Shape {
    DType dtype;
    std::vector<int64_t> dims;
  };
  // The same shapes in every process. Error(kCannotWrite) from all functions.
  SafetensorsParts(std::filesystem::path file, const std::map<std::string, Shape>& shapes);
  void Create() const;  // header and size, no values yet
  // Values of a tensor from the `first` one on, row-major.
  void Write(const std::string& name, int64_t first, const HostTensor& values) const;
  void Sync() const;

  const std::string& header() const { return header_; }             // with its length
  const std::vector<std::string>& order() const { return order_; }  // of the values behind it

 private:
  std::filesystem::path file_;
  std::vector<std::string> order_;
  std::string header_;
  std::map<std::string, uint64_t> begins_;  // bytes from the start of the file
  uint64_t size_ = 0;
};

}  // namespace whyrec::store
