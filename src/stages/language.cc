// language: trains PULSE's base model on the catalogue's texts when no folder is configured.
#include "src/systems/pulse/language.h"

#include "src/config/run_config.h"
#include "src/stages/stage.h"

namespace whyrec::stages {

Stage LanguageStage(const config::RunConfig& config) {
  const auto& language = config.pulse().language();
  Stage stage{
      .name = "language",
      .config_parts = {"pulse.language", "seed"},
      .settings = config::Canonical(config::WithTraining(config, language.train()), {"train"}),
      .inputs = {"split"},
      .files = {},
      .kind = Kind::kCollective};
  if (language.has_tokenizer()) stage.files = {{"tokenizer", language.tokenizer()}};
  stage.run = [](const RunContext& context, const std::filesystem::path& partial) {
    const auto train = data::LoadTrainView(context.workspace.Of("split"));
    return systems::TrainLanguage(context.config, train, context.comm, partial);
  };
  return stage;
}

}  // namespace whyrec::stages
