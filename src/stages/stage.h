// A stage turns artefacts into one artefact. A run is the list of stages that its systems need, in
// an order in which every stage comes after its inputs.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/store/workspace.h"

namespace whyrec::stages {

// Who works on a stage: rank 0 alone; any number of processes, with leases; all ranks together.
enum class Kind { kSolo, kLeased, kCollective };

// How this process takes part in leased stages (docs/leases.md).
struct Leasing {
  std::string listen;    // rank 0: where others may connect (cluster::LeaseOptions)
  bool join = false;     // this process is not a rank: it helps a run that another process started
  std::string address;   // with join: host:port; "": as the stage's folder says
  double patience = 60;  // with join: seconds without a coordinator before it gives up
};

struct RunContext {
  const config::RunConfig& config;
  cluster::Communicator& comm;
  store::Workspace& workspace;
  Leasing leasing = {};
  std::string fingerprint = {};  // of the stage that runs
};

using Files = std::vector<std::pair<std::string, std::string>>;

struct Stage {
  std::string name;                        // instance, for example "predict.isrf"
  int revision = 1;                        // increase it when the code's results change
  std::vector<std::string> config_parts;   // all configuration that may change its artefact
  std::vector<std::string> settings = {};  // further "name=value" lines of the fingerprint
  std::vector<std::string> inputs;         // names of artefacts
  Files files;                             // external files or folders: label and path
  Kind kind = Kind::kSolo;
  // Writes files into `partial`; returns facts for the manifest (rank 0's count).
  std::function<Facts(const RunContext&, const std::filesystem::path& partial)> run;
};

// One function per stage, each in its own file, in the order of the chain.
Stage CatalogueStage(const config::RunConfig& config);
Stage SplitStage(const config::RunConfig& config);
Stage AuditStage(const config::RunConfig& config);
Stage RationalesStage(const config::RunConfig& config, const std::string& kind);  // "item" | "user"
Stage EmbeddingsStage(const config::RunConfig& config);
Stage GraphsStage(bool embeddings);  // with the user graph where there are embeddings
// PULSE's, in its order.
Stage LanguageStage(const config::RunConfig& config);
Stage PositiveStage(const config::RunConfig& config);
Stage ThoughtsStage(const config::RunConfig& config);
Stage NeighboursStage(const config::RunConfig& config);
Stage ReasonsStage(const config::RunConfig& config);
// `by`: thought, oracle, blind, distilbert, sbert, log_likelihood, base or random.
Stage SelectStage(const config::RunConfig& config, const std::string& by);

// Names of predict.also_candidates: "popularity", "sasrec_hard", ... Error(kUsage) for a repeated
// one.
std::vector<std::string> AlsoCandidates(const config::RunConfig& config);
Stage CandidatesStage(const config::RunConfig& config, const std::string& how);
Stage TrainStage(const config::RunConfig& config, int system);
Stage PredictStage(const config::RunConfig& config, int system);
Stage MetricsStage(const config::RunConfig& config, int system);
Stage ReportStage(const config::RunConfig& config);

// The stages of a run, each after its inputs. Error(kUsage) when the configuration cannot work.
std::vector<Stage> Chain(const config::RunConfig& config);

// The identity of a stage's artefact, from the present content of its inputs.
store::Identity IdentityOf(const Stage& stage, const config::RunConfig& config,
                           const store::Workspace& workspace);

// Runs missing or outdated stages and skips the others. All ranks call it. With `only`, it returns
// before the first stage of another kind; solo stages run in any case. Returns the stages that ran.
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
