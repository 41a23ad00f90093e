#include "src/base/open_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/base/error.h"

namespace whyrec {

OpenFile::OpenFile(const std::filesystem::path& path, int flags, unsigned mode)
    : path_(path), descriptor_(open(path.c_str(), flags | O_CLOEXEC, mode)) {
  if (descriptor_ < 0) Refuse((flags & O_ACCMODE) == O_RDONLY ? "opened" : "written");
}

OpenFile::~OpenFile() { close(descriptor_); }

void OpenFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) Refuse("written");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void OpenFile::WriteAt(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) Refuse("written");
    offset += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void OpenFile::SetSize(uint64_t bytes) {
  if (ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) Refuse("written");
}

void OpenFile::Sync() {
  if (fsync(descriptor_) != 0) Refuse("synced to disk");
}

void OpenFile::Refuse(const char* what) const {
  Fail(Exit::kCannotWrite, path_.string(), ": cannot be ", what, ": ", std::strerror(errno));
}

}  // namespace whyrec
