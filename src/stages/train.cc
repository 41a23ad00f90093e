// train: trains one system and stores its model; systems that only count store nothing.
#include "src/base/ragged.h"
#include "src/stages/stage.h"
#include "src/stages/system_run.h"

namespace whyrec::stages {
namespace {

// The items that training negatives avoid. They include held-out items only under the published
// protocol.
Ragged<int64_t> NegativeExclusion(const config::SplitConfig& config, const data::TrainView& train,
                                  const data::LabelStore& labels) {
  const auto published = data::PublishedProtocol::ForNegatives(config);
  return published ? labels.FullHistories(*published, train) : train.histories;
}

}  // namespace

Stage TrainStage(const config::RunConfig& config, int i) {
  const SystemRun run(config, i);
  Stage stage{.name = run.Train(),
              .revision = run.system.revision,
              .config_parts = run.system.config_parts,
              .settings = run.Settings(run.trained_as),
              .inputs = {"split"},
              .files = run.system.files(config),
              .kind = Kind::kCollective};
  for (const std::string& need : run.Needs(run.trained_as)) stage.inputs.push_back(need);
  stage.run = [i](const RunContext& context, const std::filesystem::path& partial) {
    const auto folder = context.workspace.Of("split");
    const auto train = data::LoadTrainView(folder);
    const auto labels = data::LoadLabels(folder);
    const auto exclusion = NegativeExclusion(context.config.split(), train, labels);
    ranking::TrainContext training{
        .labels = labels, .negative_exclusion = exclusion, .comm = context.comm, .folder = partial};
    const SystemRun run(context.config, i);
    return run.Build(context, train, run.trained_as)->Train(training);
  };
  return stage;
}

}  // namespace whyrec::stages
