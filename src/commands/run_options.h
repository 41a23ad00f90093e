// What `run`, `plan` and `work` are called with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/stages/stage.h"

namespace whyrec::commands {

struct RunOptions {
  std::filesystem::path config;
  std::string workspace;               // empty: runs/<config name>
  std::vector<std::string> overrides;  // "path=value"
  bool fresh = false;                  // delete the workspace's artefacts first
  std::string only;                    // "solo" | "leased" | "collective": stages of this kind
  std::string listen;  // address for `work` processes to connect to; "0.0.0.0": all interfaces
};

// The configuration, checked for its systems too. Errors as config::Load.
config::RunConfig Load(const RunOptions& options);
// Whether the configuration sets execution.reproducible (base/self_start.h says what that needs).
bool IsReproducible(const RunOptions& options);
// Where the run's artefacts are.
std::filesystem::path WorkspaceOf(const RunOptions& options, const config::RunConfig& config);
// As RunOptions::only names it.
const char* KindName(stages::Kind kind);

}  // namespace whyrec::commands
