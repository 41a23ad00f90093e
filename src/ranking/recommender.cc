#include "src/ranking/recommender.h"

#include <algorithm>
#include <cmath>

#include "src/base/rng.h"

namespace whyrec::ranking {

const char* NameOf(Task task) { return task == Task::kSequential ? "sequential" : "direct"; }

HostTensor Recommender::UserVectors(const std::vector<Query>&, bool) {
  Fail(Exit::kInternal, "a system without user vectors is asked for them");
}

std::vector<Ranked> Recommender::Rank(Task task, const std::vector<Query>& queries,
                                      std::span<const int64_t> targets,
                                      const RankOptions& options) {
  const std::vector<Prediction> predictions = Predict(task, queries);
  std::vector<Ranked> out;
  for (size_t i = 0; i < queries.size(); ++i) {
    const std::vector<double>& scores = predictions[i].scores;
    if (scores.empty()) {
      out.push_back({std::nullopt, predictions[i].list});
      continue;
    }
    std::vector<uint8_t> mask;
    if (options.mask_history) {
      mask.resize(scores.size());
      for (const int64_t item : queries[i].history) mask[static_cast<size_t>(item)] = 1;
      mask[static_cast<size_t>(targets[i])] = 0;
    }
    out.push_back({eval::RankOf(scores, targets[i], mask), Best(scores, mask, options.list)});
  }
  return out;
}

std::vector<int64_t> Best(std::span<const double> scores, std::span<const uint8_t> mask,
                          int64_t count) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < scores.size(); ++i)
    if ((mask.empty() || !mask[i]) && !std::isnan(scores[i]))
      order.push_back(static_cast<int64_t>(i));
  const auto k = std::min<std::ptrdiff_t>(count, std::ssize(order));
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  order.resize(static_cast<size_t>(k));
  return order;
}

Prediction FromScores(const Query& query, std::span<const double> scores) {
  Prediction prediction;
  for (const int64_t item : query.candidates)
    prediction.scores.push_back(scores[static_cast<size_t>(item)]);
  if (query.candidates.empty()) prediction.scores.assign(scores.begin(), scores.end());
  return prediction;
}

std::vector<Prediction> FromScores(const std::vector<Query>& queries, const HostTensor& scores) {
  WR_CHECK(scores.dim(0) == std::ssize(queries), scores.dim(0), " rows of scores for ",
           queries.size(), " queries");
  std::vector<Prediction> out;
  for (const Query& query : queries)
    out.push_back(FromScores(query, scores.row<double>(std::ssize(out))));
  return out;
}

std::vector<int64_t> ValidationUsers(const data::LabelStore& labels,
                                     const config::RunConfig& config) {
  const std::vector<int64_t> evaluated = labels.EvaluatedUsers(data::Phase::kValidation);
  std::vector<int64_t> users =
      Rng(config.seed(), "validation users").Permutation(std::ssize(evaluated));
  users.resize(std::min<size_t>(users.size(), config.train().validation_users()));
  for (int64_t& user : users) user = evaluated[static_cast<size_t>(user)];
  return users;
}

}  // namespace whyrec::ranking
