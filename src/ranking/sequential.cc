#include "src/ranking/scorer.h"
#include "src/ranking/training.h"

namespace whyrec::ranking {

std::unique_ptr<Recommender> MakeSequential(const BuildContext& context,
                                            std::unique_ptr<Scorer> scorer,
                                            const SamplerOptions& options, MakeSampler make) {
  const auto train = [shared = std::make_shared<const BuildContext>(context), options, make](
                         Scorer& scorer, TrainContext& context) {
    const BuildContext& build = *shared;
    const auto sampler =
        make(build.train.histories, context.negative_exclusion, build.train.item_count(), options);
    ScorerTraining training(scorer, {.build = build,
                                     .train = context,
                                     .sampler = *sampler,
                                     .validation_stream = options.name + " validation"});
    return RunTraining(training, build.config, context.folder, context.comm);
  };
  return MakeScoring(context, std::move(scorer), train);
}

}  // namespace whyrec::ranking
