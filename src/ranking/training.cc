#include "src/ranking/training.h"

#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/softplus.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "src/base/rng.h"
#include "src/ranking/full_ranking.h"

namespace whyrec::ranking {
namespace {

using config::TrainConfig;
using Loss = Scorer::Loss;

constexpr int64_t kUnit = 64;  // users that are validated together

const char* NameOf(Loss loss) {
  switch (loss) {
    case Loss::kBce:
      return "BCE";
    case Loss::kCrossEntropy:
      return "CE";
    case Loss::kBpr:
      return "BPR";
  }
  return "";
}

// Of one target among the scores [I] of all items; `other` is its negative.
double LossOf(Loss loss, const at::Tensor& scores, int64_t target, int64_t other) {
  switch (loss) {
    case Loss::kBce:
      return -(at::log_sigmoid(scores[target]) + at::log_sigmoid(-scores[other])).item<double>();
    case Loss::kCrossEntropy:
      return (scores.logsumexp(0) - scores[target]).item<double>();
    case Loss::kBpr:
      return at::softplus(scores[other] - scores[target]).item<double>();
  }
  return 0;
}

Examples::Distinct DistinctOf(std::vector<int64_t> rows, const train::Share& share) {
  std::ranges::sort(rows);
  rows.erase(std::ranges::unique(rows).begin(), rows.end());
  const auto count = std::ssize(rows);
  return {std::move(rows), count * share.begin / share.global_batch,
          count * share.end / share.global_batch};
}

}  // namespace

int64_t ScorerTraining::steps_per_epoch() const {
  const TrainConfig& train = parts_.build.config.train();
  return train.epoch_steps() > 0 ? train.epoch_steps()
                                 : parts_.sampler.EpochSteps(train.global_batch());
}

Examples ScorerTraining::ExamplesOf(const train::Share& share) {
  const bool known = drawn_ && drawn_->first.step == share.step &&
                     drawn_->first.begin == share.begin && drawn_->first.end == share.end;
  return known ? drawn_->second : Draw(share);
}

Examples ScorerTraining::Draw(const train::Share& share) {
  const int64_t first = share.first();
  Examples examples = parts_.sampler.Draw(first + share.begin, first + share.end);
  examples.step = share.step;
  examples.batch = share.global_batch;
  if (!scorer_.contrasts()) return examples;
  const Examples batch = parts_.sampler.Draw(first, first + share.global_batch);
  examples.batch_users = DistinctOf(batch.users, share);
  examples.batch_items = DistinctOf(batch.positives.values, share);
  return examples;
}

void ScorerTraining::BeginStep(const train::Share& whole) {
  if (!scorer_.distributes()) return;
  drawn_.emplace(whole, Draw(whole));
  scorer_.BeginStep(drawn_->second);
}

train::StepLoss ScorerTraining::Loss(const train::Share& share) {
  const int64_t first = share.first();
  const int64_t targets = parts_.sampler.CountTargets(first, first + share.global_batch);
  const nn::Draws draws = share.draws(parts_.build.config.seed());
  return {.own = scorer_.LossSum(ExamplesOf(share), draws) / static_cast<double>(targets),
          .shared = {},
          .task = NameOf(scorer_.loss())};
}

train::Validation ScorerTraining::Validate(int64_t step) {
  if (!parts_.validates) return {static_cast<double>(step), false, {}};
  const c10::NoGradGuard no_grad;
  scorer_.Prepare();
  const data::LabelStore& labels = parts_.train.labels;
  const std::vector<int64_t> users = ValidationUsers(labels, parts_.build.config);
  const bool metric = parts_.build.config.train().stop() == TrainConfig::METRIC;
  const auto unit = [&](int64_t begin, int64_t end) {
    std::vector<Query> queries;
    std::vector<int64_t> targets;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t user = users[static_cast<size_t>(i)];
      queries.push_back(
          {user, labels.InputHistory(data::Phase::kValidation, parts_.build.train, user), {}});
      targets.push_back(labels.Target(data::Phase::kValidation, user));
    }
    return metric ? Hits(queries, targets) : Losses(queries, targets);
  };
  const double value = team_.SumOverUnits(std::ssize(users), kUnit, unit,
                                          scorer_.distributes() ? train::Team::Calls::kTogether
                                                                : train::Team::Calls::kOwn) /
                       static_cast<double>(users.size());
  return {value, !metric, {{metric ? "sequential HR@10" : NameOf(scorer_.loss()), value}}};
}

// How many targets are among the first ten.
double ScorerTraining::Hits(std::span<const Query> queries,
                            std::span<const int64_t> targets) const {
  const int64_t items = parts_.build.train.item_count();
  double hits = 0;
  for (const Ranked& ranked :
       RankTiles([&](Range tile) { return scorer_.Scores(queries, tile); }, queries, targets, items,
                 {.mask_history = MasksHistory(parts_.build), .list = 0}, TileItems(kUnit, items)))
    hits += eval::HitRate(*ranked.rank, 10, eval::Ties::kPessimistic);
  return hits;
}

// The sum of the targets' losses, each against a negative that is the same at every validation.
double ScorerTraining::Losses(std::span<const Query> queries,
                              std::span<const int64_t> targets) const {
  const int64_t items = parts_.build.train.item_count();
  const at::Tensor scores = scorer_.Scores(queries, {0, items}).to(at::kDouble).cpu();
  double sum = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    const auto user = static_cast<uint64_t>(queries[i].user);
    const auto row = parts_.train.negative_exclusion.row(queries[i].user);
    std::vector<int64_t> avoided(row.begin(), row.end());
    avoided.push_back(targets[i]);
    Rng rng(parts_.build.config.seed(), parts_.validation_stream, 0, user);
    const int64_t other = data::DrawNegatives(items, avoided, 1, rng)[0];
    sum += LossOf(scorer_.loss(), scores[static_cast<int64_t>(i)], targets[i], other);
  }
  return sum;
}

bool MasksHistory(const BuildContext& context) {
  return !context.knobs.Has("mask_history") || context.knobs.On("mask_history");
}

std::vector<std::pair<std::string, std::string>> IgnoredTraining() {
  return {{"train.dropout", "whose dropout, if it has any, is a knob"},
          {"train.weight_decay", "whose penalties are knobs"},  // RunTraining sets it to 0
          {"train.shuffle_first_pass", "which draws its samples at random"}};
}

Facts RunTraining(ScorerTraining& training, const config::RunConfig& config,
                  const std::filesystem::path& folder, cluster::Communicator& comm, int64_t steps) {
  TrainConfig own = config.train();
  own.set_weight_decay(0);
  if (steps > 0) own.set_steps(static_cast<int32_t>(steps));
  return train::Run(training, own, folder, comm);
}

}  // namespace whyrec::ranking
