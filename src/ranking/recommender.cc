#include "src/ranking/recommender.h"

#include <algorithm>

#include "src/base/rng.h"

namespace whyrec::ranking {

const char* NameOf(Task task) { return task == Task::kSequential ? "sequential" : "direct"; }

HostTensor Recommender::UserVectors(const std::vector<Query>&) {
  Fail(Exit::kUsage, "this system has no user vectors; sasrec has");
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
