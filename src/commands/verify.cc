// verify: whether the files of a workspace are those that were committed.
#include <iostream>

#include "src/base/error.h"
#include "src/commands/commands.h"
#include "src/store/workspace.h"

namespace whyrec::commands {

void Verify(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path))
    Fail(Exit::kData, path.string(), ": is not a workspace");
  const store::Workspace workspace(path);
  const auto problems = workspace.VerifyAll();
  std::string all;
  for (const std::string& problem : problems) all += "\n  " + problem;
  if (!problems.empty()) Fail(Exit::kData, path.string(), ": ", problems.size(), " problems:", all);
  std::cout << workspace.Names().size() << " artefacts, all files match their manifests\n";
}

}  // namespace whyrec::commands
