// A scorer as the training loop sees it: the loss of a share of a step's examples, and validation
// by the rank or the loss of held-out items.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "src/base/facts.h"
#include "src/ranking/scorer.h"
#include "src/train/team.h"
#include "src/train/trainer.h"

namespace whyrec::ranking {

struct TrainingParts {
  const BuildContext& build;
  const TrainContext& train;
  Sampler& sampler;
  std::string validation_stream;  // of the negatives that validation losses are taken against
  bool validates = true;          // false: runs for as long as it is told
};

class ScorerTraining final : public train::Trainable {
 public:
  ScorerTraining(Scorer& scorer, const TrainingParts& parts)
      : scorer_(scorer), parts_(parts), team_(parts.train.comm) {}

  nn::Parameters& parameters() override { return scorer_.parameters(); }
  int64_t steps_per_epoch() const override;
  void BeginStep(const train::Share& whole) override;
  void EndStep() override { scorer_.EndStep(); }
  train::StepLoss Loss(const train::Share& share) override;
  train::Validation Validate(int64_t step) override;

 private:
  Examples ExamplesOf(const train::Share& share);
  Examples Draw(const train::Share& share);
  double Hits(std::span<const Query> queries, std::span<const int64_t> targets) const;
  double Losses(std::span<const Query> queries, std::span<const int64_t> targets) const;

  Scorer& scorer_;
  const TrainingParts parts_;
  train::Team team_;
  std::optional<std::pair<train::Share, Examples>> drawn_;  // by BeginStep, for a step of one pass
};

// Whether items of the history are left out of rankings: the knob mask_history, at validation and
// at the test alike.
bool MasksHistory(const BuildContext& context);

// train::Run without weight decay: scorers regularise themselves. `steps` above 0 replaces
// train.steps.
Facts RunTraining(ScorerTraining& training, const config::RunConfig& config,
                  const std::filesystem::path& folder, cluster::Communicator& comm,
                  int64_t steps = 0);

// A recommender around a scorer: `train` brings it to its best parameters and leaves
// model.safetensors in the context's folder.
using TrainScorer = std::function<Facts(Scorer& scorer, TrainContext& context)>;
std::unique_ptr<Recommender> MakeScoring(const BuildContext& context,
                                         std::unique_ptr<Scorer> scorer, TrainScorer train);

}  // namespace whyrec::ranking
