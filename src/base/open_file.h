// A file (or folder) held open through a POSIX descriptor, closed with the object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace whyrec {

// Error(kCannotWrite) with path and reason whenever the system refuses.
class OpenFile {
 public:
  // `flags` as for open(2), O_CLOEXEC is added; `mode` for a file that is created.
  OpenFile(const std::filesystem::path& path, int flags, unsigned mode = 0666);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return descriptor_; }

  void Write(std::string_view bytes);  // all of them, at the descriptor's place
  void WriteAt(uint64_t offset, std::string_view bytes);
  void SetSize(uint64_t bytes);
  void Sync();  // bytes and size are on the disk
  // Error(kCannotWrite): "<path>: cannot be <what>: <reason of the last system call>".
  [[noreturn]] void Refuse(const char* what) const;

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace whyrec
