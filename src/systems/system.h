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

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/base/host_tensor.h"
#include "src/config/knobs.h"
#include "src/data/split.h"
#include "src/eval/metrics.h"

namespace whyrec::systems {

namespace knob = config::knob;

// The tasks that are evaluated: next item over all items; the held-out item among candidates.
enum class Task { kSequential, kDirect };
const char* NameOf(Task task);

// What a system is asked for one user; the target is not part of it.
struct Query {
  int64_t user;                         // row
  std::vector<int64_t> history;         // item rows, oldest first
  std::span<const int64_t> candidates;  // item rows; empty: the whole catalogue
};

// Either one score per candidate (per item where the query names none), or an ordered list of item
// rows in which -1 stands for an answer that is no item.
struct Prediction {
  std::vector<double> scores;
  std::vector<int64_t> list;
};

// From the scores of all items, [I]: those of the query's candidates, or all.
Prediction FromScores(const Query& query, std::span<const double> scores);
// The same from a table, F64 [queries, I].
std::vector<Prediction> FromScores(const std::vector<Query>& queries, const HostTensor& scores);

// What a system is built from.
struct BuildContext {
  const config::RunConfig& config;  // with the system's own training; execution.device is chosen
  const data::TrainView& train;
  config::Knobs knobs;
  std::string variant = {};
  std::map<std::string, std::filesystem::path> artefacts = {};  // folders of what it asked for
};

// What training may use besides: validation targets for early stopping, the items that negatives
// avoid, and the communicator of its ranks.
struct TrainContext {
  const data::LabelStore& labels;
  const store::Ragged<int64_t>& negative_exclusion;
  cluster::Communicator& comm;
  std::filesystem::path folder;  // checkpoints while under way; the model in the end
};

class Recommender {
 public:
  virtual ~Recommender() = default;
  // Trains into context.folder, continuing from what an earlier try left there. Systems that only
  // count do nothing.
  virtual data::Facts Train(TrainContext& context) = 0;
  virtual void Load(const std::filesystem::path& folder) = 0;
  // Answers in the order of the queries; queries of one call form one batch.
  virtual std::vector<Prediction> Predict(Task task, const std::vector<Query>& queries) = 0;
  // F32 [queries, d]: the states that a system with user vectors compares users by;
  // Error(kUsage) for the others.
  virtual HostTensor UserVectors(const std::vector<Query>& queries);
};

// One of several ways to run a system, named in `system { name variant }`: the rows of an ablation.
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
  Names config_parts = {};                     // parts of the configuration that its training reads
  int revision = 1;                            // of its code
  eval::Ties ties = eval::Ties::kPessimistic;  // place of the target among equal scores
  // Where the configuration decides it.
  std::function<eval::Ties(const config::RunConfig&)> ties_of = {};
  std::vector<Variant> variants = {};  // none: there is one way; else the first is the default
  std::vector<Task> tasks = {Task::kSequential, Task::kDirect};
  // Training that the configuration states for all its variants, over the run's.
  std::function<config::TrainConfig(const config::RunConfig&)> training = [](const auto&) {
    return config::TrainConfig();
  };
  // For reports, of a system without variants.
  std::function<std::string(const config::RunConfig&)> variant = [](const auto&) { return ""; };
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
// What the schema does not know of a run's systems: their names, variants and knobs.
std::vector<config::Problem> Check(const config::RunConfig& config);

// The users that early stopping evaluates: train.validation_users of those with a validation item,
// drawn by seed, or all.
std::vector<int64_t> ValidationUsers(const data::LabelStore& labels,
                                     const config::RunConfig& config);

struct Registration {
  explicit Registration(System system);
};

}  // namespace whyrec::systems
