// The text generator of stages that need texts, chosen by rationales.backend.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/gen/generator.h"
#include "src/gen/reason_engine.h"
#include "src/stages/stage.h"

namespace whyrec::stages {

// Which system's prompts: those of PULSE's public code are plain text, without the chat template.
enum class Prompts { kIsrf, kPulse };

// What the texts depend on besides the configuration: for the stage's fingerprint.
struct BackendNeeds {
  Files files;                      // replay_file, model
  std::vector<std::string> inputs;  // "language", where IN_PROCESS names no model
  std::vector<std::string> settings;

  void AddTo(Stage& stage) const;
};
// Error(kUsage) says which setting is missing.
BackendNeeds BackendNeedsOf(const config::RunConfig& config, Prompts prompts);

std::unique_ptr<gen::Generator> MakeBackend(const RunContext& context,
                                            const config::RunConfig& config, Prompts prompts);

// "template (...)", "replayed from FILE", "MODEL, in process": for a report.
std::string DescribeBackend(const config::RunConfig& config);
// What a stage of PULSE states of the reasons it stores, and who wrote them.
Facts FactsOf(const gen::ReasonCounts& counts, const config::RunConfig& config);

}  // namespace whyrec::stages
