// A stage turns artefacts into one artefact. A run is the list of stages that its systems need, in
// an order in which every stage comes after its inputs (chain.cc); runner.h runs it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
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

// One of the two protocols of a run under BOTH: its stages work in a folder of the workspace.
struct Half {
  std::string folder;                // "strict"
  config::RunConfig config;          // of that protocol
  std::vector<std::string> decided;  // "path=value": what the protocol decides of it
};
using Halves = std::vector<std::shared_ptr<const Half>>;

struct Stage {
  std::string name;                        // instance, for example "predict.lightgcn"
  int revision = 1;                        // increase it when the code's results change
  std::vector<std::string> config_parts;   // all configuration that may change its artefact
  std::vector<std::string> settings = {};  // further "name=value" lines of the fingerprint
  std::vector<std::string> inputs;         // names of artefacts
  Files files;                             // external files or folders: label and path
  Kind kind = Kind::kSolo;
  // Writes files into `partial`; returns facts for the manifest (rank 0's count).
  std::function<Facts(const RunContext&, const std::filesystem::path& partial)> run;
  std::shared_ptr<const Half> half = {};  // null: the stage is of the whole run

  std::string Title() const { return half ? half->folder + "/" + name : name; }
};

// One function per stage, each in its own file, in the order of the chain.
Stage CatalogueStage(const config::RunConfig& config);
Stage SplitStage(const config::RunConfig& config);
Stage AuditStage(const config::RunConfig& config);
Stage RationalesStage(const config::RunConfig& config, const std::string& kind);  // "item" | "user"
Stage EmbeddingsStage(const config::RunConfig& config);
Stage GraphsStage(const config::RunConfig& config);
// PULSE's, in its order.
Stage LanguageStage(const config::RunConfig& config);
Stage PositiveStage(const config::RunConfig& config);
Stage ThoughtsStage(const config::RunConfig& config);
Stage NeighboursStage(const config::RunConfig& config);
Stage ReasonsStage(const config::RunConfig& config);
inline constexpr const char* kSelections[] = {"thought", "oracle",         "blind", "distilbert",
                                              "sbert",   "log_likelihood", "base",  "random"};
Stage SelectStage(const config::RunConfig& config, const std::string& by);  // one of them

// Names of predict.also_candidates: "popularity", "sasrec_hard", ... Error(kUsage) for a repeated
// one.
std::vector<std::string> AlsoCandidates(const config::RunConfig& config);
Stage CandidatesStage(const config::RunConfig& config, const std::string& how);
Stage TrainStage(const config::RunConfig& config, int system);
Stage PredictStage(const config::RunConfig& config, int system);
Stage MetricsStage(const config::RunConfig& config, int system);
Stage ReportStage(const config::RunConfig& config, const std::vector<Stage>& before);
Stage ComparisonStage(const Halves& halves);  // under BOTH: their reports side by side

// The stages of a run, each after its inputs. Error(kUsage) when the configuration cannot work.
std::vector<Stage> Chain(const config::RunConfig& config);

// config::ProtocolKeys of what these stages read.
std::vector<std::string> ProtocolKeys(const config::RunConfig& config,
                                      const std::vector<Stage>& stages);

}  // namespace whyrec::stages
