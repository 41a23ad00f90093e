// The journal's bytes in a real file.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "cluster/lease/journal.h"
#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/open_file.h"

namespace whyrec::cluster {
namespace {

class PosixFile final : public JournalFile {
 public:
  explicit PosixFile(const std::filesystem::path& path) : file_(path, O_RDWR | O_CREAT | O_APPEND) {
    if (flock(file_.descriptor(), LOCK_EX | LOCK_NB) != 0)
      Fail(Exit::kUsage, path.string(), ": another coordinator is at work on it");
    SyncToDisk(path.has_parent_path() ? path.parent_path() : ".");  // its name
  }
  std::string name() const override { return file_.path().string(); }

  uint64_t Size() override {
    struct stat status = {};
    if (fstat(file_.descriptor(), &status) != 0) file_.Refuse("read");
    return static_cast<uint64_t>(status.st_size);
  }

  std::string Read(uint64_t offset, size_t n) override {
    std::string out(n, '\0');
    size_t got = 0;
    while (got < n) {
      const ssize_t more =
          pread(file_.descriptor(), out.data() + got, n - got, static_cast<off_t>(offset + got));
      if (more < 0 && errno == EINTR) continue;
      if (more < 0) file_.Refuse("read");
      if (more == 0) break;
      got += static_cast<size_t>(more);
    }
    out.resize(got);
    return out;
  }

  void Append(std::string_view bytes) override { file_.Write(bytes); }
  // Not tried again after a failure: the kernel may have dropped the pages.
  void Sync() override {
    if (fdatasync(file_.descriptor()) != 0) file_.Refuse("synced to disk");
  }
  void Truncate(uint64_t size) override {
    if (ftruncate(file_.descriptor(), static_cast<off_t>(size)) != 0) file_.Refuse("truncated");
  }

 private:
  OpenFile file_;
};

}  // namespace

std::unique_ptr<JournalFile> OpenJournalFile(const std::filesystem::path& file) {
  return std::make_unique<PosixFile>(file);
}

}  // namespace whyrec::cluster
