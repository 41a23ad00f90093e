// markov: what followed the last item most often in training sequences, then popularity.
#include "src/data/count_models.h"
#include "src/systems/system.h"

namespace whyrec::systems {
namespace {

class MarkovRecommender final : public Recommender {
 public:
  explicit MarkovRecommender(const BuildContext& context)
      : model_(context.train.histories, context.train.item_count()) {}

  Facts Train(TrainContext&) override { return {}; }
  void Load(const std::filesystem::path&) override {}

  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    std::vector<Prediction> out;
    for (const Query& query : queries)
      out.push_back(FromScores(query, model_.Scores(query.history.back())));
    return out;
  }

 private:
  data::Markov model_;
};

const Registration kRegistration({
    .name = "markov",
    .description = "count(last item, item right after it) over training sequences, then popularity",
    .knobs = {knob::Switch("mask_history", true,
                           "leave items of the user's history out of full rankings")},
    .ignores = {{"train", "which only counts"}},
    .ties = eval::Ties::kExpected,
    .build = [](const BuildContext& c) { return std::make_unique<MarkovRecommender>(c); },
});

}  // namespace
}  // namespace whyrec::systems
