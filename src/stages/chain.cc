// Puts the stages that a run's systems need in order, finds those that are missing or outdated by
// their fingerprints, and runs them.
#include <algorithm>
#include <map>
#include <set>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/config/run_config.h"
#include "src/stages/stage.h"
#include "src/stages/system_run.h"
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
    Info(Cat("[", stage.name, "] ", reason));
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

// Orders the stages that the report needs, each after its inputs.
class Chainer {
 public:
  explicit Chainer(const config::RunConfig& config) : config_(config) {
    std::set<std::string> names;
    for (int i = 0; i < config.system_size(); ++i) {
      const SystemRun run(config, i);
      systems::KnobValues(run.system, run.chosen);
      if (!names.insert(run.Name()).second)
        Fail(Exit::kUsage, "system \"", run.Name(), "\" is named twice");
      systems_.emplace(run.Train(), i);
      for (const auto* variant : {run.variant, run.trained_as})
        for (const std::string& need : run.Needs(variant)) embedded_ |= need == "embeddings";
    }
  }

  std::vector<Stage> Chain() {
    for (const char* name : {"catalogue", "split", "audit"}) Add(Named(name));
    for (int i = 0; i < config_.system_size(); ++i)
      for (const auto make : {TrainStage, PredictStage, MetricsStage}) Add(make(config_, i));
    Add(ReportStage(config_));
    return std::move(chain_);
  }

 private:
  void Add(const Stage& stage) {
    if (std::ranges::find(chain_, stage.name, &Stage::name) != chain_.end()) return;
    for (const std::string& input : stage.inputs)
      if (std::ranges::find(chain_, input, &Stage::name) == chain_.end()) Add(Named(input));
    chain_.push_back(stage);
  }

  Stage Named(const std::string& name) const {
    if (name == "catalogue") return CatalogueStage(config_);
    if (name == "split") return SplitStage(config_);
    if (name == "audit") return AuditStage(config_);
    if (name == "rationales.item") return RationalesStage(config_, "item");
    if (name == "rationales.user") return RationalesStage(config_, "user");
    if (name == "embeddings") return EmbeddingsStage(config_);
    if (name == "graphs") return GraphsStage(embedded_);
    if (name == "language") return LanguageStage(config_);
    if (name == "rationales.positive") return PositiveStage(config_);
    if (name == "thoughts") return ThoughtsStage(config_);
    if (name == "neighbours") return NeighboursStage(config_);
    if (name == "rationales.tree") return ReasonsStage(config_);
    if (name.starts_with("candidates.")) return CandidatesStage(config_, name.substr(11));
    if (name.starts_with("select.")) return SelectStage(config_, name.substr(7));
    if (const auto trained = systems_.find(name); trained != systems_.end())
      return TrainStage(config_, trained->second);
    const std::string system = name.substr(name.find('.') + 1);
    Fail(Exit::kUsage, "the run needs ", name, "; add  system { name: \"", system, "\" }");
  }

  const config::RunConfig& config_;
  std::map<std::string, int> systems_;  // by the name of their training
  bool embedded_ = false;
  std::vector<Stage> chain_;
};

}  // namespace

store::Identity IdentityOf(const Stage& stage, const config::RunConfig& config,
                           const store::Workspace& workspace) {
  store::Identity identity{.name = stage.name, .revision = stage.revision};
  if (!stage.config_parts.empty()) identity.config = config::Canonical(config, stage.config_parts);
  identity.config.insert(identity.config.end(), stage.settings.begin(), stage.settings.end());
  // A reproducible run must not reuse artefacts of other kernels: their last digits differ.
  if (config.execution().reproducible())
    identity.config.emplace_back("execution.reproducible=true");
  for (const std::string& name : stage.inputs) {
    artefact::Input input;
    input.set_name(name);
    if (const auto manifest = workspace.Find(name)) input.set_content(manifest->content());
    identity.inputs.push_back(input);
  }
  for (const auto& [label, path] : stage.files)
    identity.inputs.push_back(store::ExternalInput(label, path));
  return identity;
}

std::vector<Stage> Chain(const config::RunConfig& config) {
  if (config.system_size() == 0)
    Fail(Exit::kUsage,
         "the configuration names no system; add for example  system { name: \"isrf\" }");
  return Chainer(config).Chain();
}

std::vector<std::string> RunChain(const RunContext& context, std::optional<Kind> only) {
  std::vector<std::string> ran;
  for (const Stage& stage : Chain(context.config)) {
    store::Identity identity;
    std::string reason;
    if (context.comm.rank() == 0) {
      identity = IdentityOf(stage, context.config, context.workspace);
      reason = context.workspace.ReasonToRun(identity);
    }
    int64_t run = !reason.empty();
    context.comm.Broadcast(&run, sizeof run, 0);
    if (!run) continue;
    if (only && stage.kind != Kind::kSolo && stage.kind != *only) break;
    RunStage(stage, identity, reason, context);
    ran.push_back(stage.name);
  }
  return ran;
}

std::optional<NextStage> FindNext(const config::RunConfig& config,
                                  const store::Workspace& workspace) {
  for (const Stage& stage : Chain(config)) {
    const std::string reason = workspace.ReasonToRun(IdentityOf(stage, config, workspace));
    if (!reason.empty()) return NextStage{stage.kind, reason.starts_with("unfinished")};
  }
  return std::nullopt;
}

std::vector<std::string> PlanChain(const config::RunConfig& config,
                                   const store::Workspace& workspace) {
  std::vector<std::string> lines;
  std::set<std::string> running;
  for (const Stage& stage : Chain(config)) {
    const auto changed =
        std::find_if(stage.inputs.begin(), stage.inputs.end(),
                     [&](const std::string& input) { return running.count(input); });
    store::Identity identity = IdentityOf(stage, config, workspace);
    // A stage that runs may produce the same content as before; then those after it are skipped.
    if (const auto stored = workspace.Find(stage.name))
      for (artefact::Input& input : identity.inputs)
        for (const artefact::Input& before : stored->input())
          if (running.count(input.name()) && before.name() == input.name()) input = before;
    std::string reason = workspace.ReasonToRun(identity);
    if (changed != stage.inputs.end() && reason.empty())
      reason = "perhaps: its input " + *changed + " runs (skipped if that yields the same content)";
    if (!reason.empty()) running.insert(stage.name);
    if (reason.empty())
      lines.push_back(Cat("skip  ", stage.name, ": took ",
                          store::SecondsTaken(*workspace.Find(stage.name)), " s"));
    else
      lines.push_back("run   " + stage.name + ": " + reason);
  }
  return lines;
}

}  // namespace whyrec::stages
