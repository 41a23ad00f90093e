// A workspace holds the artefacts of a run: <workspace>/<name>/ with files and manifest.txtpb. An
// artefact without a manifest does not count: files are written to <name>.partial/, hashed and
// synced, the folder is renamed, and the manifest is renamed into it last.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "proto/artefact.pb.h"

namespace whyrec::store {

// What identifies the work behind an artefact (its fingerprint).
struct Identity {
  std::string name;                     // instance, for example "predict.isrf"; its folder
  int revision = 1;                     // of the stage's code
  std::vector<std::string> config;      // canonical lines
  std::vector<artefact::Input> inputs;  // by content

  std::string Fingerprint() const;  // SHA-256
};

class Workspace {
 public:
  explicit Workspace(std::filesystem::path folder);  // created when absent

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path Of(const std::string& name) const { return folder_ / name; }
  std::filesystem::path Partial(const std::string& name) const {
    return folder_ / (name + ".partial");
  }

  // The manifest, if there is one and all files it lists exist with the right sizes.
  std::optional<artefact::Manifest> Find(const std::string& name) const;

  // "" when the artefact exists with this fingerprint; otherwise why the stage has to run, for
  // people: "no artefact yet", "configuration changed: train.steps=200 was 100", "input split
  // changed", ...
  std::string ReasonToRun(const Identity& identity) const;

  // Returns <name>.partial/. An existing one with the same fingerprint is kept, so that the stage
  // can resume; any other is replaced by an empty folder.
  std::filesystem::path Begin(const Identity& identity) const;
  // Turns <name>.partial/ into the artefact. Facts go into the manifest. Files and folders whose
  // names begin with '.' are scratch: neither hashed nor part of the content.
  artefact::Manifest Commit(const Identity& identity, const std::vector<artefact::Fact>& facts,
                            const std::string& started) const;

  // Full check of one artefact (hashes) or of all; one line per problem.
  std::vector<std::string> Verify(const std::string& name) const;
  std::vector<std::string> VerifyAll() const;
  std::vector<std::string> Names() const;      // artefacts with a manifest, sorted
  void Remove(const std::string& name) const;  // manifest first; <name>.partial/ too

 private:
  std::filesystem::path folder_;
};

// An external file or folder as an input: name "file:<label>", and a hash of its content (of a
// folder: of all regular files below it, except names with a leading '.'). Error(kData) when it
// does not exist.
artefact::Input ExternalInput(const std::string& label, const std::filesystem::path& path);

std::string UtcNow();                                      // 2026-11-21T03:04:05Z
int64_t SecondsTaken(const artefact::Manifest& manifest);  // from start to commit

}  // namespace whyrec::store
