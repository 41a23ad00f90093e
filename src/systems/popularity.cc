// popularity: ranks items by their number of training interactions. Every other system should beat
// it.
#include "src/data/count_models.h"
#include "src/systems/system.h"

namespace whyrec::systems {
namespace {

class PopularityRecommender final : public Recommender {
 public:
  explicit PopularityRecommender(const BuildContext& context)
      : scores_(data::Popularity(context.train.histories, context.train.item_count())) {}

  Facts Train(TrainContext&) override { return {}; }
  void Load(const std::filesystem::path&) override {}

  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    std::vector<Prediction> out;
    for (const Query& query : queries) out.push_back(FromScores(query, scores_));
    return out;
  }

 private:
  std::vector<double> scores_;
};

const Registration kRegistration({
    .name = "popularity",
    .description = "training interactions per item; ties by chance (expected rank)",
    .knobs = {knob::Switch("mask_history", true,
                           "leave items of the user's history out of full rankings")},
    .ignores = {{"train", "which only counts"}},
    .ties = eval::Ties::kExpected,
    .build = [](const BuildContext& c) { return std::make_unique<PopularityRecommender>(c); },
});

}  // namespace
}  // namespace whyrec::systems
