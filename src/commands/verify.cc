// verify: whether the files of a workspace are those that were committed.
#include <algorithm>
#include <iostream>

#include "src/base/error.h"
#include "src/commands/commands.h"
#include "src/store/workspace.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

// The workspace and, under both protocols, those of its halves.
std::vector<fs::path> WorkspacesIn(const fs::path& workspace) {
  std::vector<fs::path> out = {workspace};
  for (const auto& entry : fs::directory_iterator(workspace))
    if (entry.is_directory() && !store::Workspace(entry.path()).Names().empty())
      out.push_back(entry.path());
  std::sort(out.begin() + 1, out.end());
  return out;
}

}  // namespace

void Verify(const fs::path& path) {
  if (!fs::is_directory(path)) Fail(Exit::kData, path.string(), ": is not a workspace");
  size_t artefacts = 0, problems = 0;
  std::string all;
  for (const fs::path& folder : WorkspacesIn(path)) {
    const store::Workspace workspace(folder);
    artefacts += workspace.Names().size();
    for (const std::string& problem : workspace.VerifyAll()) {
      all += "\n  " + (folder == path ? "" : folder.filename().string() + "/") + problem;
      ++problems;
    }
  }
  if (problems > 0) Fail(Exit::kData, path.string(), ": ", problems, " problems:", all);
  std::cout << artefacts << " artefacts, all files match their manifests\n";
}

}  // namespace whyrec::commands
