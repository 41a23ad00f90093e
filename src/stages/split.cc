// split: leave-one-out, numbers for prompts, candidates -> train.h5 (what training may know) and
// labels.h5 (what it may not).
#include "src/data/split.h"

#include "src/base/error.h"
#include "src/stages/stage.h"

namespace whyrec::stages {

Stage SplitStage() {
  return {.name = "split",
          .revision = 2,
          .config_parts = {"split"},
          .inputs = {"catalogue"},
          .run = [](const RunContext& context, const std::filesystem::path& partial) -> Facts {
            const auto catalogue =
                data::LoadCatalogue(context.workspace.Of("catalogue") / "catalogue.h5");
            const data::Split split = data::MakeSplit(catalogue, context.config.split());
            data::Save(split, partial);
            return {{"users", Cat(split.train.user_count())},
                    {"items", Cat(split.train.item_count())},
                    {"training interactions", Cat(split.train.histories.values.size())},
                    {"explanation records", Cat(split.train.explanations.size())}};
          }};
}

}  // namespace whyrec::stages
