#include "cluster/lease/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "cluster/lease/journal.h"
#include "src/base/error.h"

namespace whyrec::cluster {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void Refused(const fs::path& file, const char* what) {
  Fail(Exit::kCannotWrite, file.string(), ": cannot be ", what, ": ", std::strerror(errno));
}

// A file descriptor.
class Descriptor {
 public:
  Descriptor(const fs::path& file, int flags, int mode = 0666)
      : file_(file), fd_(open(file.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) Refused(file_, "opened");
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  operator int() const { return fd_; }

  void Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) Refused(file_, "written");
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  void Sync() {
    if (fsync(fd_) != 0) Refused(file_, "synced to disk");
  }

 private:
  fs::path file_;
  int fd_;
};

fs::path FolderOf(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

class PosixFile final : public JournalFile {
 public:
  explicit PosixFile(const fs::path& file) : path_(file), fd_(file, O_RDWR | O_CREAT | O_APPEND) {
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0)
      Fail(Exit::kUsage, file.string(), ": another coordinator is using it");
    Descriptor(FolderOf(file), O_RDONLY | O_DIRECTORY).Sync();
  }
  std::string name() const override { return path_.string(); }

  uint64_t Size() override {
    struct stat status = {};
    if (fstat(fd_, &status) != 0) Refused(path_, "read");
    return static_cast<uint64_t>(status.st_size);
  }

  std::string Read(uint64_t offset, size_t n) override {
    std::string out(n, '\0');
    size_t got = 0;
    while (got < n) {
      const ssize_t more = pread(fd_, out.data() + got, n - got, static_cast<off_t>(offset + got));
      if (more < 0 && errno == EINTR) continue;
      if (more < 0) Refused(path_, "read");
      if (more == 0) break;
      got += static_cast<size_t>(more);
    }
    out.resize(got);
    return out;
  }

  void Append(std::string_view bytes) override { fd_.Write(bytes); }
  // Not retried after a failure: the kernel may have dropped the dirty pages.
  void Sync() override {
    if (fdatasync(fd_) != 0) Refused(path_, "synced to disk");
  }
  void Truncate(uint64_t size) override {
    if (ftruncate(fd_, static_cast<off_t>(size)) != 0) Refused(path_, "truncated");
  }

 private:
  fs::path path_;
  Descriptor fd_;
};

}  // namespace

std::unique_ptr<JournalFile> OpenJournalFile(const fs::path& file) {
  return std::make_unique<PosixFile>(file);
}

void WriteDurably(const fs::path& file, std::string_view bytes, bool secret) {
  const fs::path draft =
      FolderOf(file) / Cat(".", file.filename().string(), ".", static_cast<int>(getpid()));
  {
    std::error_code absent;
    fs::remove(draft, absent);  // its mode may be another
    Descriptor out(draft, O_WRONLY | O_CREAT | O_EXCL, secret ? 0600 : 0666);
    out.Write(bytes);
    out.Sync();
  }
  if (rename(draft.c_str(), file.c_str()) != 0) Refused(file, "renamed into place");
  Descriptor(FolderOf(file), O_RDONLY | O_DIRECTORY).Sync();
}

std::string ReadWhole(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace whyrec::cluster
