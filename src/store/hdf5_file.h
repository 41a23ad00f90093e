// A small typed interface to HDF5: dense arrays, ragged arrays and texts. One writer per file. A
// file has no time stamps: equal contents give equal bytes. The HDF5 library is not thread-safe, so
// only one thread of a process may use it at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/host_tensor.h"
#include "src/base/ragged.h"

namespace whyrec::store {

class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& file);  // replaces the file; Error(kCannotWrite)
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;

  void Write(const std::string& name, const HostTensor& values);  // name may hold '/'
  void WriteInts(const std::string& name, const std::vector<int64_t>& values);
  void WriteFloats(const std::string& name, const std::vector<float>& values);
  void WriteInts(const std::string& name,
                 const Ragged<int64_t>& rows);  // name/offsets, name/values
  void WriteTexts(const std::string& name, const std::vector<std::string>& texts);  // UTF-8
  void Attribute(const std::string& name, std::string_view value);
  void Close();  // flushes and syncs; Error(kCannotWrite). The destructor does too, without errors

 private:
  int64_t file_ = -1;
  std::filesystem::path path_;
};

// Read errors are Error(kData) with file and dataset name.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& file);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;

  bool Has(const std::string& name) const;
  HostTensor Read(const std::string& name) const;
  std::vector<int64_t> ReadInts(const std::string& name) const;
  std::vector<float> ReadFloats(const std::string& name) const;
  Ragged<int64_t> ReadRagged(const std::string& name) const;
  std::vector<std::string> ReadTexts(const std::string& name) const;
  std::string Attribute(const std::string& name) const;

 private:
  int64_t file_ = -1;
  std::filesystem::path path_;
};

}  // namespace whyrec::store
