// split: held-out items, numbers for prompts, candidate sets -> train.h5 (data that training may
// use) and labels.h5 (held-out data).
#include "src/data/split.h"
#include "src/base/ragged.h"

#include "src/base/error.h"
#include "src/data/candidates.h"
#include "src/stages/stage.h"

namespace whyrec::stages {

Stage SplitStage(const config::RunConfig& config) {
  data::CheckDrawnBySplit(config.split());
  return {.name = "split",
          .revision = 2,
          .config_parts = {"split"},
          .inputs = {"catalogue"},
          .run = [](const RunContext& context, const std::filesystem::path& partial) -> Facts {
            const auto catalogue =
                data::LoadCatalogue(context.workspace.Of("catalogue") / "catalogue.h5");
            const data::Split split = data::MakeSplit(catalogue, context.config.split());
            data::Save(split, partial);
            const auto shared = [&](data::Phase phase) {
              Ragged<int64_t> rows;
              for (int64_t user : split.labels.EvaluatedUsers(phase))
                rows.Append(split.labels.Candidates(phase, user));
              return data::SharedTitles(split.train.items, rows);
            };
            const auto evaluated = [&](data::Phase phase) {
              return std::ssize(split.labels.EvaluatedUsers(phase));
            };
            return {{"users never evaluated",
                     Cat(split.train.user_count() - evaluated(data::Phase::kTest))},
                    {"users who validate", Cat(evaluated(data::Phase::kValidation))},
                    {"users with two candidates of one title",
                     Cat("validation ", shared(data::Phase::kValidation), ", test ",
                         shared(data::Phase::kTest), ", training ",
                         data::SharedTitles(split.train.items, split.train.candidates))},
                    {"users", Cat(split.train.user_count())},
                    {"items", Cat(split.train.item_count())},
                    {"training interactions", Cat(split.train.histories.values.size())},
                    {"explanation records", Cat(split.train.explanations.size())}};
          }};
}

}  // namespace whyrec::stages
