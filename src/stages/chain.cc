// Lists all stages in the order of the data, from top to bottom, and picks those that a run needs.
#include <algorithm>
#include <cctype>
#include <functional>
#include <ranges>
#include <set>

#include "src/base/error.h"
#include "src/config/run_config.h"
#include "src/stages/stage.h"
#include "src/stages/system_run.h"

namespace whyrec::stages {
namespace {

// A stage of the list. It is made only for a run that needs it, since making it checks its
// settings.
struct Place {
  enum Needed { kAlways, kIfRead } needed;  // kIfRead: when a later stage reads its artefact
  std::string name;
  std::function<Stage()> make;
};

// Each stage comes after those that it reads.
std::vector<Place> AllStages(const config::RunConfig& config) {
  std::vector<Place> all;
  const auto always = [&](const std::string& name, const auto& make, const auto&... of) {
    if (std::ranges::find(all, name, &Place::name) == all.end())
      all.push_back({Place::kAlways, name, [=, &config] { return make(config, of...); }});
  };
  const auto if_read = [&](const std::string& name, const auto& make, const auto&... of) {
    all.push_back({Place::kIfRead, name, [=, &config] { return make(config, of...); }});
  };

  always("catalogue", CatalogueStage);
  always("split", SplitStage);
  always("audit", AuditStage);

  // ISRF: texts on items and users, their embeddings, the graphs of interactions and of users.
  if_read("rationales.item", RationalesStage, "item");
  if_read("rationales.user", RationalesStage, "user");
  if_read("embeddings", EmbeddingsStage);
  if_read("graphs", GraphsStage);

  // Systems that the next stages ask for similar users or hard candidates.
  for (const auto role : {systems::Role::kNeighbours, systems::Role::kHardCandidates})
    if (const auto i = PlayerOf(role, config))
      always(SystemRun(config, *i).Train(), TrainStage, *i);

  // PULSE: the language model, rationales of known choices, encoders trained on them, similar
  // users, trees of reasons, and the reason that is chosen from each tree.
  if_read("language", LanguageStage);
  if_read("rationales.positive", PositiveStage);
  if_read("thoughts", ThoughtsStage);
  if_read("neighbours", NeighboursStage);
  if_read("rationales.tree", ReasonsStage);
  for (const char* by : kSelections) if_read(Cat("select.", by), SelectStage, by);

  // Further candidate sets of the direct task.
  for (const std::string& how : AlsoCandidates(config))
    if_read("candidates." + how, CandidatesStage, how);

  // The systems, in the order of the configuration.
  for (int i = 0; i < config.system_size(); ++i) {
    const SystemRun run(config, i);
    always(run.Train(), TrainStage, i);
    always(run.Predict(), PredictStage, i);
    always(run.Metrics(), MetricsStage, i);
  }
  return all;
}

// The stages of a run under one protocol.
std::vector<Stage> OneChain(const config::RunConfig& config) {
  CheckSystems(config);
  std::vector<Stage> chain;
  std::set<std::string> read;
  std::vector<Place> all = AllStages(config);
  for (const Place& place : std::views::reverse(all)) {  // readers come last
    if (place.needed == Place::kIfRead && !read.contains(place.name)) continue;
    chain.push_back(place.make());
    read.insert(chain.back().inputs.begin(), chain.back().inputs.end());
  }
  std::ranges::reverse(chain);
  for (const std::string& name : read)
    WR_CHECK(std::ranges::find(chain, name, &Stage::name) != chain.end(),
             "no stage leaves the artefact ", name);
  chain.push_back(ReportStage(config, chain));
  return chain;
}

}  // namespace

std::vector<Stage> Chain(const config::RunConfig& config) {
  if (config.protocol() != config::RunConfig::BOTH) return OneChain(config);
  std::vector<Stage> chain;
  Halves halves;
  for (const config::RunConfig& of : config::ByProtocol(config)) {
    std::string folder = config::RunConfig::Protocol_Name(of.protocol());
    std::ranges::transform(folder, folder.begin(), [](unsigned char c) { return std::tolower(c); });
    std::vector<Stage> stages = OneChain(of);
    halves.push_back(std::make_shared<const Half>(Half{folder, of, ProtocolKeys(of, stages)}));
    for (Stage& stage : stages) {
      stage.half = halves.back();
      chain.push_back(std::move(stage));
    }
  }
  chain.push_back(ComparisonStage(halves));
  return chain;
}

std::vector<std::string> ProtocolKeys(const config::RunConfig& config,
                                      const std::vector<Stage>& stages) {
  std::vector<std::string> parts;
  for (const Stage& stage : stages)
    parts.insert(parts.end(), stage.config_parts.begin(), stage.config_parts.end());
  return config::ProtocolKeys(config, parts);
}

}  // namespace whyrec::stages
