// Shared by the stages train, predict and metrics: one configured system and what it is built from.
#pragma once

#include <algorithm>

#include "src/config/run_config.h"
#include "src/stages/stage.h"
#include "src/systems/system.h"

namespace whyrec::stages {

// One system of the configuration, in one variant, with its artefact names.
struct SystemRun {
  const config::SystemConfig& chosen;
  const systems::System& system;
  const config::RunConfig config;      // with the system's own training over the run's
  const systems::Variant* variant;     // null: the system has one way to run
  const systems::Variant* trained_as;  // whose training it uses; likewise

  SystemRun(const config::RunConfig& run, int i) : SystemRun(run, run.system(i)) {}

  std::string Name() const { return Instance(variant); }  // "markov", "pulse.thought"
  std::string Train() const { return "train." + Instance(trained_as); }
  std::string Predict() const { return "predict." + Name(); }
  std::string Metrics() const { return "metrics." + Name(); }
  // For reports.
  std::string VariantName() const { return variant ? variant->name : system.variant(config); }
  systems::System::Names Needs(const systems::Variant* of) const {
    return system.needs(config, of ? of->name : "");
  }
  // Lines for fingerprints: "knob.NAME=value", and the training where the system states its own.
  std::vector<std::string> Settings(const systems::Variant* of) const {
    std::vector<std::string> lines;
    const config::Knobs knobs = systems::KnobValues(system, chosen);
    for (const auto& [name, value] : knobs.values())
      lines.push_back("knob." + name + "=" + config::Canonical(value));
    if (of) lines.push_back("variant=" + of->name);
    if (chosen.has_train() || system.training(config).ByteSizeLong() > 0)
      for (const std::string& line : config::Canonical(config, {"train"}))
        lines.push_back("own " + line);
    return lines;
  }

  std::unique_ptr<ranking::Recommender> Build(const RunContext& context,
                                              const data::TrainView& train,
                                              const systems::Variant* of) const {
    ranking::BuildContext build{.config = config,
                                .train = train,
                                .knobs = systems::KnobValues(system, chosen),
                                .variant = of ? of->name : ""};
    for (const std::string& need : Needs(of)) build.artefacts[need] = context.workspace.Of(need);
    return system.build(build);
  }

 private:
  SystemRun(const config::RunConfig& run, const config::SystemConfig& of)
      : chosen(of),
        system(systems::FindSystem(of.name())),
        config(config::WithTraining(config::WithTraining(run, system.training(run)), of.train())),
        variant(systems::FindVariant(system, of.variant())),
        trained_as(variant && !variant->trained_as.empty()
                       ? systems::FindVariant(system, variant->trained_as)
                       : variant) {}

  std::string Instance(const systems::Variant* of) const {
    std::string name = system.name + (of ? "." + of->name : "");
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name;
  }
};

// The run's SASRec, for the stages that work with its states or scores.
inline int SasrecOf(const config::RunConfig& config) {
  for (int i = 0; i < config.system_size(); ++i)
    if (config.system(i).name() == "sasrec") return i;
  Fail(Exit::kUsage,
       "similar users and SASREC_HARD candidates need SASRec; add  system { name: \"sasrec\" }");
}

}  // namespace whyrec::stages
