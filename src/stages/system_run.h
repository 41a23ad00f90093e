// Shared by the stages train, predict and metrics: one configured system and what it is built from.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

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
  std::string VariantName() const { return variant ? variant->name : ""; }
  systems::System::Names Needs(const systems::Variant* of) const {
    return system.needs(config, of ? of->name : "");
  }
  // Lines for fingerprints: "knob.NAME=value", and the training where the system states its own.
  std::vector<std::string> Settings(const systems::Variant* of) const;

  std::unique_ptr<ranking::Recommender> Build(const RunContext& context,
                                              const data::TrainView& train,
                                              const systems::Variant* of) const;

 private:
  SystemRun(const config::RunConfig& run, const config::SystemConfig& of);
  std::string Instance(const systems::Variant* of) const;
};

// Error(kUsage) where entries of the configuration would share an artefact and differ in what is in
// it, or a knob is wrong.
void CheckSystems(const config::RunConfig& config);

// Artefacts that the run's systems learn from.
std::set<std::string> NeedsOfSystems(const config::RunConfig& config);

// The first entry whose system plays the role.
std::optional<int> PlayerOf(systems::Role role, const config::RunConfig& config);
// The same where the run needs one: Error(kUsage) says what for ("similar users") and which to add.
int NeedPlayer(systems::Role role, const config::RunConfig& config, const std::string& what_for);

}  // namespace whyrec::stages
