#include "src/base/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "src/base/error.h"
#include "src/base/open_file.h"

namespace whyrec {
namespace fs = std::filesystem;
namespace {

fs::path FolderOf(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

void Write(const fs::path& file, const std::vector<std::string_view>& parts, unsigned mode) {
  const fs::path draft = FolderOf(file) / Cat(".", file.filename().string(), ".", getpid());
  std::error_code ignored;
  fs::remove(draft, ignored);  // of a killed process with this number; its mode may be another
  try {
    OpenFile out(draft, O_WRONLY | O_CREAT | O_EXCL, mode);
    for (std::string_view part : parts) out.Write(part);
    out.Sync();
    RenameDurably(draft, file);
  } catch (...) {
    fs::remove(draft, ignored);
    throw;
  }
}

}  // namespace

void WriteDurably(const fs::path& file, std::string_view bytes, bool secret) {
  Write(file, {bytes}, secret ? 0600 : 0666);
}

void WriteDurably(const fs::path& file, const std::vector<std::string_view>& parts) {
  Write(file, parts, 0666);
}

void SyncToDisk(const fs::path& file_or_folder) { OpenFile(file_or_folder, O_RDONLY).Sync(); }

void RenameDurably(const fs::path& from, const fs::path& to) {
  std::error_code refused;
  fs::rename(from, to, refused);
  if (refused)
    Fail(Exit::kCannotWrite, to.string(), ": cannot be renamed into place: ", refused.message());
  SyncToDisk(FolderOf(to));
}

}  // namespace whyrec
