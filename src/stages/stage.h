// A stage turns artefacts into one artefact. A run is the list of stages that its systems name; the
// order of the list is the way of the data.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/store/workspace.h"

namespace whyrec::stages {

// Who works at a stage: rank 0 alone; any processes, over leases; all ranks together.
enum class Kind { kSolo, kLeased, kCollective };

// How this process takes part in leased stages (docs/leases.md).
struct Leasing {
  std::string listen;    // rank 0: where others may connect (cluster::LeaseOptions)
  bool join = false;     // this process is no rank: it works for a run elsewhere
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

using Facts = std::vector<std::pair<std::string, std::string>>;
using Files = std::vector<std::pair<std::string, std::string>>;

struct Stage {
  std::string name;                        // instance, for example "predict.isrf"
  int revision = 1;                        // raise it when the code computes something else
  std::vector<std::string> config_parts;   // what it reads; nothing else may change its artefact
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

// Names of predict.also_candidates: "popularity", "sasrec_hard", ... Error(kUsage) for one that
// stands twice.
std::vector<std::string> AlsoCandidates(const config::RunConfig& config);
Stage CandidatesStage(const config::RunConfig& config, const std::string& how);
Stage TrainStage(const config::RunConfig& config, int system);
Stage PredictStage(const config::RunConfig& config, int system);
Stage MetricsStage(const config::RunConfig& config, int system);
Stage ReportStage(const config::RunConfig& config);

// The stages of a run, each after its inputs. Error(kUsage) when the configuration cannot work.
std::vector<Stage> Chain(const config::RunConfig& config);

// The identity of a stage's artefact, by the content of its inputs as they stand.
store::Identity IdentityOf(const Stage& stage, const config::RunConfig& config,
                           const store::Workspace& workspace);

// Runs what is not there yet; the others are skipped. All ranks call it. With `only`, ends before
// the first stage of another kind; solo stages run in any case. Returns the stages that ran.
std::vector<std::string> RunChain(const RunContext& context, std::optional<Kind> only = {});

// Works at the leased stages of a run that goes on in other processes, until they stand or a
// collective stage is next. Error(kLaunch) when no coordinator is there or it refuses this worker.
void JoinChain(const RunContext& context);

// The first stage that has to run; nothing when every artefact stands.
struct NextStage {
  Kind kind = Kind::kSolo;
  bool begun = false;  // by an earlier try, which it continues
};
std::optional<NextStage> FindNext(const config::RunConfig& config,
                                  const store::Workspace& workspace);

// "run   STAGE: reason" or "skip  STAGE: took N s" for every stage.
std::vector<std::string> PlanChain(const config::RunConfig& config,
                                   const store::Workspace& workspace);

}  // namespace whyrec::stages
