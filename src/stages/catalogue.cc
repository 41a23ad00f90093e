// catalogue: the source's files, or a planted signal -> catalogue.h5.
#include "src/data/catalogue.h"

#include "src/base/error.h"
#include "src/stages/stage.h"

namespace whyrec::stages {

Stage CatalogueStage(const config::RunConfig& config) {
  const auto& source = config.catalogue();
  Stage stage{.name = "catalogue", .revision = 2, .config_parts = {"catalogue"}};
  if (source.has_folder() + source.has_reviews() + source.has_planted() != 1)
    Fail(Exit::kUsage,
         "catalogue: give either `folder` (P5 files), or `reviews` and `items` (JSON lines), or "
         "`planted`");
  if (source.has_folder()) stage.files.emplace_back("folder", source.folder());
  if (source.has_reviews()) stage.files.emplace_back("reviews", source.reviews());
  if (source.has_items()) stage.files.emplace_back("items", source.items());
  if (source.has_planted()) stage.settings.push_back("source=planted");
  if (!source.has_dataset() &&
      !source.has_planted()) {  // the name in reports is then that of the source
    const std::filesystem::path path = source.has_folder() ? source.folder() : source.reviews();
    stage.settings.push_back("source=" + path.filename().string());
  }
  stage.run = [](const RunContext& context, const std::filesystem::path& partial) {
    Facts facts;
    data::Save(data::ReadSource(context.config.catalogue(), facts), partial / "catalogue.h5");
    return facts;
  };
  return stage;
}

}  // namespace whyrec::stages
