// What every recommender around a scorer does once training has ended.
#include <c10/core/GradMode.h>

#include <algorithm>
#include <iterator>

#include "src/ranking/full_ranking.h"
#include "src/ranking/training.h"
#include "src/tensor/bridge.h"
#include "src/tensor/device.h"
#include "src/train/checkpoint.h"

namespace whyrec::ranking {
namespace {

class ScoringRecommender final : public Recommender {
 public:
  ScoringRecommender(const BuildContext& context, std::unique_ptr<Scorer> scorer, TrainScorer train)
      : seed_(context.config.seed()),
        items_(context.train.item_count()),
        scorer_(std::move(scorer)),
        train_(std::move(train)) {}

  Facts Train(TrainContext& context) override {
    scorer_->Join(train::Team(context.comm));
    scorer_->Initialise(seed_);
    Facts facts = train_(*scorer_, context);
    const c10::NoGradGuard no_grad;
    train::LoadParameters(scorer_->parameters(), context.folder / "model.safetensors");
    scorer_->Save(context.folder);
    std::ranges::copy(scorer_->facts(), std::back_inserter(facts));
    return facts;
  }

  void Load(const std::filesystem::path& folder) override {
    const c10::NoGradGuard no_grad;
    train::LoadParameters(scorer_->parameters(), folder / "model.safetensors");
    scorer_->Load(folder);
  }

  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    const c10::NoGradGuard no_grad;
    return FromScores(queries,
                      tensor::ToHost(scorer_->Scores(queries, {0, items_}).to(at::kDouble)));
  }

  std::vector<Ranked> Rank(Task, const std::vector<Query>& queries,
                           std::span<const int64_t> targets, const RankOptions& options) override {
    const c10::NoGradGuard no_grad;
    return RankTiles([&](Range items) { return scorer_->Scores(queries, items); }, queries, targets,
                     items_, options, TileItems(std::ssize(queries), items_));
  }

  HostTensor UserVectors(const std::vector<Query>& queries, bool padded) override {
    const c10::NoGradGuard no_grad;
    return tensor::ToHost(scorer_->UserVectors(queries, padded).to(at::kFloat));
  }

 private:
  uint64_t seed_;
  int64_t items_;
  std::unique_ptr<Scorer> scorer_;
  TrainScorer train_;
};

}  // namespace

std::unique_ptr<Recommender> MakeScoring(const BuildContext& context,
                                         std::unique_ptr<Scorer> scorer, TrainScorer train) {
  return std::make_unique<ScoringRecommender>(context, std::move(scorer), std::move(train));
}

at::ScalarType TypeOf(const BuildContext& context) {
  return context.config.train().dtype() == config::TrainConfig::FP64 ? at::kDouble : at::kFloat;
}

void RefuseRows(const BuildContext& context, const std::string& system) {
  if (context.config.graphs().placement() == config::GraphsConfig::ROWS)
    Fail(Exit::kUsage, "graphs.placement is ROWS, but ", system,
         " keeps all nodes on every rank: set it to AUTO or REPLICATED");
}

at::Device DeviceOf(const BuildContext& context) {
  return tensor::ChooseDevice(context.config.execution().device());
}

at::Tensor Scorer::UserVectors(std::span<const Query>, bool) {
  Fail(Exit::kInternal, "a scorer without user vectors is asked for them");
}

}  // namespace whyrec::ranking
