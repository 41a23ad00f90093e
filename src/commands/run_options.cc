#include "src/commands/run_options.h"

#include "src/config/run_config.h"
#include "src/systems/system.h"

namespace whyrec::commands {

config::RunConfig Load(const RunOptions& options) {
  return config::Load(options.config, options.overrides, systems::Check);
}

bool IsReproducible(const RunOptions& options) {
  return config::Load(options.config, options.overrides).execution().reproducible();
}

std::filesystem::path WorkspaceOf(const RunOptions& options, const config::RunConfig& config) {
  return options.workspace.empty() ? std::filesystem::path("runs") / config.name()
                                   : std::filesystem::path(options.workspace);
}

const char* KindName(stages::Kind kind) {
  if (kind == stages::Kind::kSolo) return "solo";
  return kind == stages::Kind::kLeased ? "leased" : "collective";
}

}  // namespace whyrec::commands
