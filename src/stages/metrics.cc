// metrics: predictions and test targets -> metrics.json; per_user.h5 with each user's target rank,
// HR@1 and HR@10; chance.json with the metrics that equal scores for all candidates would get.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/durable_file.h"
#include "src/base/log.h"
#include "src/stages/predictions.h"
#include "src/stages/system_run.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

struct Metric {
  enum Kind { kHits, kGain, kReciprocal };
  const char* name;
  Kind kind;
  int64_t k;
};
constexpr Metric kMetrics[] = {{"HR@1", Metric::kHits, 1},     {"HR@5", Metric::kHits, 5},
                               {"NDCG@5", Metric::kGain, 5},   {"HR@10", Metric::kHits, 10},
                               {"NDCG@10", Metric::kGain, 10}, {"MRR", Metric::kReciprocal, 0}};

double Value(const Metric& metric, const eval::Rank& rank, eval::Ties ties) {
  if (metric.kind == Metric::kReciprocal) return eval::ReciprocalRank(rank, ties);
  return metric.kind == Metric::kGain ? eval::Ndcg(rank, metric.k, ties)
                                      : eval::HitRate(rank, metric.k, ties);
}

// Value of one metric for the i-th evaluated user.
double Value(const Metric& metric, const TaskPredictions& task, int64_t i, int64_t target,
             bool dedupe, eval::Ties ties) {
  if (task.scored) return Value(metric, task.ranks[i], ties);
  const auto list = task.lists.row(i);
  if (metric.kind == Metric::kReciprocal) return eval::ReciprocalRank(list, target);
  return metric.kind == Metric::kGain ? eval::Ndcg(list, target, metric.k, dedupe)
                                      : eval::HitRate(list, target, metric.k, dedupe);
}

// Place of the target, from 1; 0 when the list does not hold it.
int64_t Place(const TaskPredictions& task, int64_t i, int64_t target) {
  if (task.scored) return task.ranks[i].miss ? 0 : task.ranks[i].greater + 1;
  const auto list = task.lists.row(i);
  const auto found = std::find(list.begin(), list.end(), target);
  return found == list.end() ? 0 : found - list.begin() + 1;
}

Facts WriteMetrics(const RunContext& context, const std::filesystem::path& partial,
                   const SystemRun& run) {
  const auto train = data::LoadTrainView(context.workspace.Of("split"));
  const auto labels = data::LoadLabels(context.workspace.Of("split"));
  const auto predictions = LoadPredictions(context.workspace.Of(run.Predict()) / "predictions.h5");
  const auto& config = context.config;
  const eval::Ties ties = run.system.ties_of ? run.system.ties_of(run.config) : run.system.ties;
  const int64_t candidates = config.split().direct_negatives() + 1;
  json rows = json::array();
  store::Hdf5Writer per_user(partial / "per_user.h5");
  per_user.WriteInts("users", predictions.users);
  for (const TaskPredictions& task : predictions.tasks) {
    std::vector<std::vector<double>> columns(std::size(kMetrics));
    std::vector<int64_t> place;
    for (int64_t i = 0; i < std::ssize(predictions.users); ++i) {
      const int64_t target = labels.Target(data::Phase::kTest, predictions.users[i]);
      for (size_t m = 0; m < std::size(kMetrics); ++m)
        columns[m].push_back(Value(kMetrics[m], task, i, target, config.metrics().dedupe(), ties));
      place.push_back(Place(task, i, target));
    }
    per_user.WriteInts(task.task + "/place", place);
    for (size_t m : {0, 3})  // for paired comparisons
      per_user.WriteFloats(task.task + "/" + kMetrics[m].name,
                           {columns[m].begin(), columns[m].end()});
    const auto intervals = eval::Bootstrap(columns, config.metrics().bootstrap(), config.seed());
    for (size_t m = 0; m < std::size(kMetrics); ++m)
      rows.push_back({{"dataset", train.dataset},
                      {"system", run.system.name},
                      {"variant", run.VariantName()},
                      {"protocol", config::RunConfig::Protocol_Name(config.protocol())},
                      {"task", task.task},
                      {"candidates", AmongCandidates(task.task) ? candidates : train.item_count()},
                      {"metric", kMetrics[m].name},
                      {"value", intervals[m].mean},
                      {"low", intervals[m].low},
                      {"high", intervals[m].high},
                      {"users", predictions.users.size()},
                      {"seed", config.seed()}});
    for (const auto& warning : eval::ImpossibleCells(intervals[1].mean, intervals[2].mean,
                                                     intervals[3].mean, intervals[4].mean))
      Warn(run.system.name + ", " + task.task + ": " + warning);
  }
  per_user.Close();
  json chance = json::object();
  for (const Metric& metric : kMetrics)
    chance[metric.name] = Value(metric, eval::ChanceRank(candidates), eval::Ties::kExpected);
  WriteDurably(partial / "chance.json", chance.dump(1) + "\n");
  WriteDurably(partial / "metrics.json", rows.dump(1) + "\n");
  return {};
}

}  // namespace

Stage MetricsStage(const config::RunConfig& config, int i) {
  const SystemRun run(config, i);
  return {.name = run.Metrics(),
          .revision = 3,
          .config_parts = {"metrics", "protocol", "seed", "split.direct_negatives"},
          .settings = {"variant=" + run.VariantName()},
          .inputs = {run.Predict(), "split"},
          .run = [i](const RunContext& context, const std::filesystem::path& partial) {
            return WriteMetrics(context, partial, SystemRun(context.config, i));
          }};
}

}  // namespace whyrec::stages
