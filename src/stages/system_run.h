// What train, predict and metrics share: the chosen system and what it is built from.
#pragma once

#include <algorithm>

#include "src/stages/stage.h"
#include "src/systems/system.h"

namespace whyrec::stages {

// The i-th system of the configuration, with its artefact names.
struct SystemRun {
  const config::SystemConfig& chosen;
  const systems::System& system;

  SystemRun(const config::RunConfig& config, int i)
      : chosen(config.system(i)), system(systems::FindSystem(chosen.name())) {}

  std::string Train() const { return "train." + system.name; }
  std::string Predict() const { return "predict." + system.name; }
  std::string Metrics() const { return "metrics." + system.name; }
  // "knob.NAME=value" lines for fingerprints.
  std::vector<std::string> Settings() const {
    std::vector<std::string> lines;
    for (const auto& [name, value] : systems::KnobValues(system, chosen))
      lines.push_back("knob." + name + "=" + Cat(value));
    return lines;
  }

  std::unique_ptr<systems::Recommender> Build(const RunContext& context,
                                              const data::TrainView& train) const {
    systems::BuildContext build{.config = context.config,
                                .train = train,
                                .graphs = {},
                                .embeddings = {},
                                .knobs = systems::KnobValues(system, chosen)};
    for (const std::string& need : system.needs(context.config))
      (need == "graphs" ? build.graphs : build.embeddings) = context.workspace.Of(need);
    return system.build(build);
  }
};

}  // namespace whyrec::stages
