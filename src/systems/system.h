// A system is one file that registers itself: its name, its knobs, the artefacts it learns from,
// and how to build it. No LibTorch types here: stages never see a network.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/config/knobs.h"
#include "src/eval/metrics.h"
#include "src/ranking/recommender.h"

namespace whyrec::systems {

namespace knob = config::knob;

using ranking::BuildContext;
using ranking::FromScores;
using ranking::Prediction;
using ranking::Query;
using ranking::Recommender;
using ranking::Task;
using ranking::TrainContext;
using ranking::ValidationUsers;

// What a system does for other stages of a run, besides being compared.
enum class Role {
  kNeighbours,      // its UserVectors tell which users are similar
  kHardCandidates,  // its first items, as trained, become candidates that are hard to tell apart
  kLanguageModel,   // its language model may also write the run's texts
};

// One of several ways to run a system, chosen by `system { name: "..." variant: "..." }`: a
// relative or a row of an ablation, each with artefacts and rows of its own.
struct Variant {
  std::string name;
  std::string doc;
  std::string trained_as = {};  // another variant, whose training it shares; empty: its own
};

struct System {
  using Names = std::vector<std::string>;
  using Files = std::vector<std::pair<std::string, std::string>>;

  std::string name;
  std::string description;  // a sentence with the source
  std::vector<config::Knob> knobs = {};
  // Training options that it does not read, and why: "train" or "train.dropout" of its own block,
  // "pulse.thought.train.stop". Stating one there is an error; the run's train is for all systems.
  std::vector<std::pair<std::string, std::string>> ignores = {};
  Names config_parts = {};                     // parts of the configuration that its training reads
  int revision = 1;                            // of its code
  eval::Ties ties = eval::Ties::kPessimistic;  // place of the target among equal scores
  // Where the configuration decides it.
  std::function<eval::Ties(const config::RunConfig&)> ties_of = {};
  std::vector<Variant> variants = {};  // none: there is one way; else the first is the default
  std::vector<Task> tasks = {Task::kSequential, Task::kDirect};
  std::vector<Role> roles = {};
  // Training that the configuration states for all its variants, over the run's.
  std::function<config::TrainConfig(const config::RunConfig&)> training = [](const auto&) {
    return config::TrainConfig();
  };
  // Artefacts it learns from besides the split ("graphs", "embeddings"), by variant.
  std::function<Names(const config::RunConfig&, const std::string& variant)> needs =
      [](const auto&, const auto&) { return Names(); };
  // External files it reads: label and path.
  std::function<Files(const config::RunConfig&)> files = [](const auto&) { return Files(); };
  std::function<std::unique_ptr<Recommender>(const BuildContext&)> build;
  // What its training will hold at once on one GPU: items and bytes; none: unknown.
  using Memory = std::vector<std::pair<std::string, double>>;
  std::function<Memory(const config::RunConfig&)> memory = [](const auto&) { return Memory(); };
};

const std::vector<System>& AllSystems();            // by name
const System& FindSystem(const std::string& name);  // Error(kUsage) with the nearest name
// Null where the system has none; the first for "". Error(kUsage) with the nearest name.
const Variant* FindVariant(const System& system, const std::string& name);
// Defaults overridden by the configuration; Error(kUsage) with all that is wrong.
config::Knobs KnobValues(const System& system, const config::SystemConfig& config);
// What the schema does not know of a run's systems: their names, variants, knobs, and the training
// options that they ignore.
std::vector<config::Problem> Check(const config::RunConfig& config);

struct Registration {
  explicit Registration(System system);
};

}  // namespace whyrec::systems
