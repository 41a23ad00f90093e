#include "src/store/workspace.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/base/text_file.h"

namespace whyrec::store {
namespace {

namespace fs = std::filesystem;

constexpr char kManifest[] = "manifest.txtpb";
constexpr char kUtcForm[] = "%Y-%m-%dT%H:%M:%SZ";
constexpr char kIdentity[] = ".identity";  // in a .partial folder: whose work it holds
constexpr char kPartial[] = ".partial";
constexpr char kProgram[] = "whyrec 0.1.0";

// Runs `body`; what the file system refuses becomes Error(kCannotWrite).
template <typename Body>
void Changing(Body body) {
  try {
    body();
  } catch (const fs::filesystem_error& error) {
    Fail(Exit::kCannotWrite, error.what());
  }
}

// Regular files below `folder`, relative and sorted. Names with a leading '.' are scratch.
std::vector<std::string> FilesBelow(const fs::path& folder) {
  std::vector<std::string> out;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::end(it); ++it) {
    if (it->path().filename().string().starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      out.push_back(it->path().lexically_relative(folder).generic_string());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string ContentOf(const std::map<std::string, std::string>& hash_of_path) {
  Sha256 content;
  for (const auto& [path, hash] : hash_of_path) content.Add(path + " " + hash + "\n");
  return content.Hex();
}

void SyncTree(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() || entry.is_directory()) SyncToDisk(entry.path());
  SyncToDisk(folder);
}

// Ends the life of the artefact in `folder`: without its manifest it does not count.
void RemoveFolder(const fs::path& folder) {
  if (fs::remove(folder / kManifest)) SyncToDisk(folder);
  fs::remove_all(folder);
}

bool Holds(const fs::path& folder, const std::string& fingerprint) {
  return fs::is_regular_file(folder / kIdentity) &&
         ReadFile(folder / kIdentity) == fingerprint + "\n";
}

std::optional<artefact::Manifest> ReadManifest(const fs::path& folder) {
  if (!fs::is_regular_file(folder / kManifest)) return std::nullopt;
  struct Quiet : google::protobuf::io::ErrorCollector {
    void AddError(int, int, const std::string&) override {}
  } quiet;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&quiet);
  artefact::Manifest out;
  if (!parser.ParseFromString(ReadFile(folder / kManifest), &out)) return std::nullopt;
  return out;
}

// "" when the file has its size; else the problem.
std::string SizeProblem(const fs::path& folder, const artefact::File& file) {
  std::error_code absent;
  const auto bytes = fs::file_size(folder / file.path(), absent);
  if (absent) return file.path() + " is missing";
  if (bytes == file.bytes()) return "";
  return Cat(file.path(), " has ", bytes, " bytes; its manifest says ", file.bytes());
}

using Values = std::map<std::string, std::string>;

Values SplitLines(const auto& lines) {
  Values out;
  for (const std::string& line : lines) {
    const size_t at = std::min(line.find('='), line.size());
    out[line.substr(0, at)] = line.substr(std::min(at + 1, line.size()));
  }
  return out;
}

Values ContentsOf(const auto& inputs) {
  Values out;
  for (const artefact::Input& input : inputs) out[input.name()] = input.content();
  return out;
}

// Calls report(key, new value or null, old value or null) for every difference.
template <typename Report>
void Compare(const Values& now, const Values& before, Report report) {
  for (const auto& [key, value] : now) {
    const auto old = before.find(key);
    if (old == before.end())
      report(key, &value, nullptr);
    else if (old->second != value)
      report(key, &value, &old->second);
  }
  for (const auto& [key, value] : before)
    if (!now.contains(key)) report(key, nullptr, &value);
}

std::string Differences(const Identity& identity, const artefact::Manifest& stored) {
  std::vector<std::string> out;
  if (stored.revision() != identity.revision)
    out.push_back(Cat("stage changed: revision ", identity.revision, " was ", stored.revision()));
  Compare(SplitLines(identity.config), SplitLines(stored.config()),
          [&](const std::string& key, const std::string* now, const std::string* old) {
            out.push_back("configuration changed: " + key + (now ? "=" + *now : " is gone,") +
                          (old ? " was " + *old : " is new"));
          });
  Compare(ContentsOf(identity.inputs), ContentsOf(stored.input()),
          [&](const std::string& key, const std::string* now, const std::string* old) {
            out.push_back("input " + key + (!old ? " is new" : !now ? " is gone" : " changed"));
          });
  if (out.empty()) return "fingerprint changed";
  constexpr size_t kShown = 3;
  std::string text = out[0];
  for (size_t i = 1; i < std::min(kShown, out.size()); ++i) text += "; " + out[i];
  if (out.size() > kShown) text += Cat("; and ", out.size() - kShown, " more");
  return text;
}

}  // namespace

std::string Identity::Fingerprint() const {
  std::vector<std::string> lines = config;
  std::sort(lines.begin(), lines.end());
  Sha256 hash;
  hash.Add(Cat("stage ", name, "\nrevision ", revision, "\n"));
  for (const std::string& line : lines) hash.Add("config " + line + "\n");
  for (const auto& [input, content] : ContentsOf(inputs))
    hash.Add("input " + input + " " + content + "\n");
  return hash.Hex();
}

Workspace::Workspace(fs::path folder) : folder_(std::move(folder)) {
  Changing([&] { fs::create_directories(folder_); });
}

std::optional<artefact::Manifest> Workspace::Find(const std::string& name) const {
  auto manifest = ReadManifest(Of(name));
  if (manifest)
    for (const artefact::File& file : manifest->file())
      if (!SizeProblem(Of(name), file).empty()) return std::nullopt;
  return manifest;
}

std::string Workspace::ReasonToRun(const Identity& identity) const {
  const fs::path folder = Of(identity.name);
  if (!fs::exists(folder / kManifest)) {
    const bool begun = Holds(Partial(identity.name), identity.Fingerprint()) ||
                       Holds(folder, identity.Fingerprint());
    if (begun) return "unfinished: continues an earlier attempt";
    return fs::exists(Partial(identity.name) / kIdentity)
               ? "no artefact yet; an unfinished attempt with another configuration or other "
                 "inputs is deleted"
               : "no artefact yet";
  }
  const auto stored = ReadManifest(folder);
  if (!stored) return Cat(kManifest, " cannot be read");
  if (stored->fingerprint() != identity.Fingerprint()) return Differences(identity, *stored);
  for (const artefact::File& file : stored->file())
    if (const std::string problem = SizeProblem(folder, file); !problem.empty()) return problem;
  return "";
}

fs::path Workspace::Begin(const Identity& identity) const {
  const fs::path partial = Partial(identity.name), folder = Of(identity.name);
  const std::string fingerprint = identity.Fingerprint();
  Changing([&] {
    if (Holds(partial, fingerprint)) return;
    fs::remove_all(partial);
    // A commit that ended between its two renames left whole work without a manifest.
    if (Holds(folder, fingerprint) && !fs::exists(folder / kManifest)) {
      fs::rename(folder, partial);
      return;
    }
    fs::create_directories(partial);
    WriteDurably(partial / kIdentity, fingerprint + "\n");
  });
  return partial;
}

artefact::Manifest Workspace::Commit(const Identity& identity,
                                     const std::vector<artefact::Fact>& facts,
                                     const std::string& started) const {
  const fs::path partial = Partial(identity.name), folder = Of(identity.name);
  WR_CHECK(Holds(partial, identity.Fingerprint()), partial.string(), " was not begun");
  WR_CHECK(!fs::exists(partial / kManifest), "a stage wrote ", partial.string(), "/", kManifest);

  artefact::Manifest out;
  std::map<std::string, std::string> hashes;
  for (const std::string& path : FilesBelow(partial)) {
    artefact::File& file = *out.add_file();
    file.set_path(path);
    file.set_bytes(fs::file_size(partial / path));
    file.set_sha256(hashes[path] = Sha256OfFile(partial / path));
  }
  out.set_name(identity.name);
  out.set_fingerprint(identity.Fingerprint());
  out.set_content(ContentOf(hashes));
  out.set_revision(identity.revision);
  out.mutable_input()->Assign(identity.inputs.begin(), identity.inputs.end());
  out.mutable_config()->Assign(identity.config.begin(), identity.config.end());
  out.mutable_fact()->Assign(facts.begin(), facts.end());
  out.set_program(kProgram);
  out.set_started(started);
  out.set_finished(UtcNow());
  std::string text;
  google::protobuf::TextFormat::PrintToString(out, &text);

  Changing([&] {
    SyncTree(partial);
    RemoveFolder(folder);
    RenameDurably(partial, folder);
    WriteDurably(folder / kManifest, text);
    fs::remove(folder / kIdentity);
  });
  return out;
}

std::vector<std::string> Workspace::Verify(const std::string& name) const {
  const auto manifest = ReadManifest(Of(name));
  if (!manifest) return {name + ": no readable " + kManifest};
  std::vector<std::string> out;
  if (manifest->name() != name)
    out.push_back(name + ": its manifest is of artefact " + manifest->name());
  std::map<std::string, std::string> hashes;
  for (const artefact::File& file : manifest->file()) {
    hashes[file.path()] = file.sha256();
    std::string problem = SizeProblem(Of(name), file);
    if (problem.empty() && Sha256OfFile(Of(name) / file.path()) != file.sha256())
      problem = file.path() + " has changed since it was committed";
    if (!problem.empty()) out.push_back(name + ": " + problem);
  }
  for (const std::string& path : FilesBelow(Of(name)))
    if (path != kManifest && !hashes.contains(path))
      out.push_back(name + ": " + path + " is not in the manifest");
  if (ContentOf(hashes) != manifest->content())
    out.push_back(name + ": its manifest contradicts itself (content)");
  return out;
}

std::vector<std::string> Workspace::VerifyAll() const {
  std::vector<std::string> out;
  for (const std::string& name : Names())
    for (std::string& problem : Verify(name)) out.push_back(std::move(problem));
  return out;
}

std::vector<std::string> Workspace::Names() const {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder_))
    if (const std::string name = entry.path().filename();
        !name.ends_with(kPartial) && fs::is_regular_file(entry.path() / kManifest))
      out.push_back(name);
  std::sort(out.begin(), out.end());
  return out;
}

void Workspace::Remove(const std::string& name) const {
  Changing([&] {
    RemoveFolder(Of(name));
    fs::remove_all(Partial(name));
  });
}

artefact::Input ExternalInput(const std::string& label, const fs::path& path) {
  artefact::Input out;
  out.set_name("file:" + label);
  if (!fs::is_directory(path)) {
    out.set_content(Sha256OfFile(path));
    return out;
  }
  std::map<std::string, std::string> hashes;
  for (const std::string& file : FilesBelow(path)) hashes[file] = Sha256OfFile(path / file);
  out.set_content(ContentOf(hashes));
  return out;
}

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, kUtcForm, &parts);
  return text;
}

int64_t SecondsTaken(const artefact::Manifest& manifest) {
  const auto seconds = [](const std::string& utc) {
    std::tm parts{};
    return ::strptime(utc.c_str(), kUtcForm, &parts) ? ::timegm(&parts) : 0;
  };
  return seconds(manifest.finished()) - seconds(manifest.started());
}

}  // namespace whyrec::store
