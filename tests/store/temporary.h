// A folder that lives as long as the test.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace whyrec {

class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string name = (parent / "whyrec-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Temporary() { std::filesystem::remove_all(path_); }
  Temporary(const Temporary&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace whyrec
