#include "src/commands/resumable.h"

#include <fcntl.h>
#include <unistd.h>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/text_file.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

std::string FirstDifference(const nlohmann::json& now, const nlohmann::json& before) {
  for (const auto& [key, value] : now.items())
    if (!before.contains(key) || before[key] != value)
      return Cat(key, " is ", value.dump(), ", was ",
                 before.contains(key) ? before[key].dump() : "not set");
  return "other options";
}

nlohmann::json ReadRun(const fs::path& file) {
  if (!fs::exists(file)) return nullptr;
  try {
    return nlohmann::json::parse(ReadFile(file));
  } catch (const nlohmann::json::exception& e) {
    Fail(Exit::kData, file.string(), ": ", e.what(), "; remove it to start over");
  }
}

}  // namespace

ResumableOutput::ResumableOutput(fs::path out, nlohmann::json identity)
    : out_(std::move(out)), identity_(std::move(identity)) {
  if (const fs::path folder = out_.parent_path(); !folder.empty() && !fs::is_directory(folder))
    Fail(Exit::kCannotWrite, folder.string(), ": no such folder");
  const nlohmann::json run = ReadRun(run_file());
  const nlohmann::json before = run.is_object() ? run.value("identity", nlohmann::json()) : run;
  if (before == identity_) {
    finished_ = run.value("finished", false) && fs::exists(out_);
    return;
  }
  if (fs::exists(partial()))
    Fail(Exit::kUsage, partial().string(), ": unfinished work of another run (",
         FirstDifference(identity_, before.is_object() ? before : nlohmann::json::object()),
         "); finish it with its own options, remove it, or choose another --out");
  WriteDurably(run_file(),
               nlohmann::json{{"identity", identity_}, {"finished", false}}.dump(2) + "\n");
}

void ResumableOutput::Finish(const nlohmann::json& facts) {
  WriteDurably(
      run_file(),
      nlohmann::json{{"identity", identity_}, {"finished", true}, {"facts", facts}}.dump(2) + "\n");
  fs::remove_all(partial());
}

LineJournal::LineJournal(const fs::path& file) : file_(file, O_RDWR | O_CREAT, 0644) {
  const std::string text = ReadFile(file);
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
    lines_.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (ftruncate(file_.descriptor(), static_cast<off_t>(begin)) != 0 ||
      lseek(file_.descriptor(), 0, SEEK_END) < 0)
    file_.Refuse("truncated");
}

LineJournal::~LineJournal() { fdatasync(file_.descriptor()); }

void LineJournal::Append(const std::string& line) {
  file_.Write(line + "\n");
  lines_.push_back(line);
}

}  // namespace whyrec::commands
