// A stage turns artefacts into one artefact. A run is the list of stages that its systems name; the
// order of the list is the way of the data.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/communicator.h"
#include "proto/config.pb.h"
#include "src/store/workspace.h"

namespace whyrec::stages {

struct RunContext {
  const config::RunConfig& config;
  cluster::Communicator& comm;
  store::Workspace& workspace;
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
  bool all_ranks = false;                  // else rank 0 works and the others wait
  // Writes files into `partial`; returns facts for the manifest (rank 0's count).
  std::function<Facts(const RunContext&, const std::filesystem::path& partial)> run;
};

// One function per stage, each in its own file, in the order of the chain.
Stage CatalogueStage(const config::RunConfig& config);
Stage SplitStage();
Stage AuditStage(const config::RunConfig& config);
Stage RationalesStage(const config::RunConfig& config, const std::string& kind);  // "item" | "user"
Stage EmbeddingsStage(const config::RunConfig& config);
Stage GraphsStage(bool embeddings);  // with the user graph where there are embeddings
Stage TrainStage(const config::RunConfig& config, int system);
Stage PredictStage(const config::RunConfig& config, int system);
Stage MetricsStage(const config::RunConfig& config, int system);
Stage ReportStage(const config::RunConfig& config);

// The stages of a run, each after its inputs. Error(kUsage) when the configuration cannot work.
std::vector<Stage> Chain(const config::RunConfig& config);

// Runs what is not there yet; the others are skipped. All ranks call it. Returns the stages that
// ran.
std::vector<std::string> RunChain(const RunContext& context);

// "run <stage>: reason" or "skip <stage>" for every stage.
std::vector<std::string> PlanChain(const config::RunConfig& config,
                                   const store::Workspace& workspace);

}  // namespace whyrec::stages
