#include <algorithm>

#include "src/base/ragged.h"
#include "src/ranking/scorer.h"
#include "src/ranking/training.h"

namespace whyrec::ranking {
namespace {

constexpr char kValidationStream[] = "validation pairs";

Facts TrainOn(const Ragged<int64_t>& positives, const BuildContext& build, Scorer& scorer,
              const TrainContext& context, const std::filesystem::path& folder, int64_t steps) {
  const auto sampler =
      Pair(positives, context.negative_exclusion, build.train.item_count(), build.config.seed());
  ScorerTraining training(scorer, {.build = build,
                                   .train = context,
                                   .sampler = *sampler,
                                   .validation_stream = kValidationStream,
                                   .validates = steps == 0});
  std::filesystem::create_directories(folder);
  return RunTraining(training, build.config, folder, context.comm, steps);
}

// Training items and the validation item of every user.
Ragged<int64_t> WithValidation(const BuildContext& build, const data::LabelStore& labels) {
  Ragged<int64_t> positives;
  for (int64_t user = 0; user < build.train.user_count(); ++user)
    positives.Append(labels.InputHistory(data::Phase::kTest, build.train, user));
  return positives;
}

// From the start again for as many steps as were best. A run killed here repeats the first
// training, which ends the same. Returns the rule that the report states.
std::string Refit(const BuildContext& build, Scorer& scorer, const TrainContext& context,
                  const TakePositives& take, int64_t steps) {
  const auto positives = WithValidation(build, context.labels);
  take(positives);
  scorer.Initialise(build.config.seed());
  const std::filesystem::path folder = context.folder / "refit";
  TrainOn(positives, build, scorer, context, folder, steps);
  train::Team(context.comm).Once([&] {
    std::filesystem::copy_file(folder / "model.safetensors", context.folder / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
  });
  return Cat("training and validation items: ", positives.values.size(), " (refit, ", steps,
             " steps)");
}

}  // namespace

std::unique_ptr<Recommender> MakePairwise(const BuildContext& context,
                                          std::unique_ptr<Scorer> scorer, TakePositives take) {
  const auto train = [shared = std::make_shared<const BuildContext>(context), take](
                         Scorer& scorer, TrainContext& context) {
    const BuildContext& build = *shared;
    const auto& positives = build.train.histories;
    Facts facts = TrainOn(positives, build, scorer, context, context.folder, 0);
    std::string edges = Cat("training items only: ", positives.values.size());
    if (take) {
      const auto best = std::ranges::find(facts, "best step", &Facts::value_type::first);
      edges = Refit(build, scorer, context, take, std::stoll(best->second));
    }
    facts.emplace_back("edges", edges);
    return facts;
  };
  return MakeScoring(context, std::move(scorer), train);
}

}  // namespace whyrec::ranking
