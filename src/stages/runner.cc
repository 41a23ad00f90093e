// Finds the stages that are missing or outdated, by their fingerprints, and runs them.
#include "src/stages/runner.h"

#include <algorithm>
#include <set>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/config/run_config.h"
#include "src/stages/units.h"

namespace whyrec::stages {
namespace {

// Broadcasts rank 0's fingerprint, so that the other ranks need not hash the inputs.
std::string Share(const std::string& fingerprint, cluster::Communicator& comm) {
  auto bytes = static_cast<int64_t>(fingerprint.size());
  comm.Broadcast(&bytes, sizeof bytes, 0);
  std::string out = fingerprint;
  out.resize(static_cast<size_t>(bytes));
  comm.Broadcast(out.data(), out.size(), 0);
  return out;
}

void RunStage(const Stage& stage, const store::Identity& identity, const std::string& reason,
              const RunContext& run) {
  RunContext context = run;
  context.fingerprint = Share(identity.Fingerprint(), run.comm);
  const std::string started = store::UtcNow();
  const bool root = context.comm.rank() == 0;
  if (root) {
    Info(Cat("[", stage.Title(), "] ", reason));
    context.workspace.Begin(identity);
  }
  context.comm.Barrier();
  Facts facts;
  if (root || stage.kind != Kind::kSolo)
    facts = stage.run(context, context.workspace.Partial(stage.name));
  context.comm.Barrier(cluster::Waiting::kForWork);
  if (root) {
    std::vector<artefact::Fact> stated;
    for (const auto& [name, value] : facts) {
      artefact::Fact& fact = stated.emplace_back();
      fact.set_name(name);
      fact.set_value(value);
    }
    std::filesystem::remove_all(LeaseFolder(context.workspace.Partial(stage.name)));
    context.workspace.Commit(identity, stated, started);
  }
  context.comm.Barrier(cluster::Waiting::kForWork);  // the commit hashes all files
}

}  // namespace

store::Identity IdentityOf(const Stage& stage, const Setting& setting) {
  store::Identity identity{.name = stage.name, .revision = stage.revision};
  if (!stage.config_parts.empty())
    identity.config = config::Canonical(setting.config, stage.config_parts);
  identity.config.insert(identity.config.end(), stage.settings.begin(), stage.settings.end());
  // A reproducible run must not reuse artefacts of other kernels: their last digits differ.
  if (setting.config.execution().reproducible())
    identity.config.emplace_back("execution.reproducible=true");
  for (const std::string& name : stage.inputs) {
    artefact::Input input;
    input.set_name(name);
    if (const auto manifest = setting.workspace.Find(name)) input.set_content(manifest->content());
    identity.inputs.push_back(input);
  }
  for (const auto& [label, path] : stage.files)
    identity.inputs.push_back(store::ExternalInput(label, path));
  return identity;
}

std::vector<std::string> RunChain(const RunContext& context, std::optional<Kind> only) {
  std::vector<std::string> ran;
  for (const Stage& stage : Chain(context.config)) {
    Setting setting(stage, context.config, context.workspace);
    store::Identity identity;
    std::string reason;
    if (context.comm.rank() == 0) {
      identity = IdentityOf(stage, setting);
      reason = setting.workspace.ReasonToRun(identity);
    }
    int64_t run = !reason.empty();
    context.comm.Broadcast(&run, sizeof run, 0);
    if (!run) continue;
    if (only && stage.kind != Kind::kSolo && stage.kind != *only) break;
    RunStage(stage, identity, reason,
             {setting.config, context.comm, setting.workspace, context.leasing});
    ran.push_back(stage.Title());
  }
  return ran;
}

std::optional<NextStage> FindNext(const config::RunConfig& config,
                                  const store::Workspace& workspace) {
  for (const Stage& stage : Chain(config)) {
    const Setting setting(stage, config, workspace);
    const std::string reason = setting.workspace.ReasonToRun(IdentityOf(stage, setting));
    if (!reason.empty()) return NextStage{stage.kind, reason.starts_with("unfinished")};
  }
  return std::nullopt;
}

std::vector<std::string> PlanChain(const config::RunConfig& config,
                                   const store::Workspace& workspace) {
  std::vector<std::string> lines;
  std::set<std::string> running;  // titles
  for (const Stage& stage : Chain(config)) {
    const auto runs = [&](const std::string& input) {
      return running.contains(stage.half ? stage.half->folder + "/" + input : input);
    };
    const auto changed = std::ranges::find_if(stage.inputs, runs);
    const Setting setting(stage, config, workspace);
    store::Identity identity = IdentityOf(stage, setting);
    const auto stored = setting.workspace.Find(stage.name);
    // A stage that runs may produce the same content as before; then those after it are skipped.
    if (stored)
      for (artefact::Input& input : identity.inputs)
        for (const artefact::Input& before : stored->input())
          if (runs(input.name()) && before.name() == input.name()) input = before;
    std::string reason = setting.workspace.ReasonToRun(identity);
    if (changed != stage.inputs.end() && reason.empty())
      reason = "perhaps: its input " + *changed + " runs (skipped if that yields the same content)";
    if (!reason.empty()) running.insert(stage.Title());
    lines.push_back(
        reason.empty() ? Cat("skip  ", stage.Title(), ": took ", store::SecondsTaken(*stored), " s")
                       : "run   " + stage.Title() + ": " + reason);
  }
  return lines;
}

}  // namespace whyrec::stages
