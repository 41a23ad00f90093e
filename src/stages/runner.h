// Runs the stages of a configuration in a workspace, alone, on several ranks or as a worker of
// another run, and says what would run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/stages/stage.h"

namespace whyrec::stages {

// Where a stage works, and with what configuration: the run's, or those of its half.
struct Setting {
  Setting(const Stage& stage, const config::RunConfig& run, const store::Workspace& workspace)
      : config(stage.half ? stage.half->config : run),
        workspace(stage.half ? store::Workspace(workspace.folder() / stage.half->folder)
                             : workspace) {}
  const config::RunConfig& config;  // the stage or the run owns it
  store::Workspace workspace;
};

// The identity of a stage's artefact, from the present content of its inputs.
store::Identity IdentityOf(const Stage& stage, const Setting& setting);

// Runs missing or outdated stages and skips the others. All ranks call it. With `only`, it returns
// before the first stage of another kind; solo stages run in any case. Returns the titles of the
// stages that ran.
std::vector<std::string> RunChain(const RunContext& context, std::optional<Kind> only = {});

// Works on the leased stages of a run in other processes, until they are finished or a collective
// stage is next. Error(kLaunch) when there is no coordinator or it refuses this worker.
void JoinChain(const RunContext& context);

// The first stage that has to run; nothing when every artefact is up to date.
struct NextStage {
  Kind kind = Kind::kSolo;
  bool begun = false;  // an earlier attempt was interrupted; this one continues it
};
std::optional<NextStage> FindNext(const config::RunConfig& config,
                                  const store::Workspace& workspace);

// "run   STAGE: reason" or "skip  STAGE: took N s" for every stage.
std::vector<std::string> PlanChain(const config::RunConfig& config,
                                   const store::Workspace& workspace);

}  // namespace whyrec::stages
