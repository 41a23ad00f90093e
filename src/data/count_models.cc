#include "src/data/count_models.h"

#include <algorithm>

#include "src/base/ragged.h"
namespace whyrec::data {

std::vector<double> Popularity(const Ragged<int64_t>& histories, int64_t items) {
  std::vector<double> counts(static_cast<size_t>(items), 0.0);
  for (int64_t item : histories.values) counts[static_cast<size_t>(item)] += 1;
  return counts;
}

Markov::Markov(const Ragged<int64_t>& histories, int64_t items)
    : popularity_(Popularity(histories, items)) {
  std::vector<std::vector<int64_t>> followers(static_cast<size_t>(items));
  for (int64_t u = 0; u < histories.rows(); ++u) {
    const auto history = histories.row(u);
    for (size_t i = 1; i < history.size(); ++i)
      followers[static_cast<size_t>(history[i - 1])].push_back(history[i]);
  }
  for (const auto& row : followers) next_.Append(row);
}

std::vector<double> Markov::Scores(int64_t last) const {
  std::vector<double> scores = popularity_;
  const double unit = 1 + (scores.empty() ? 0.0 : *std::ranges::max_element(scores));
  for (int64_t item : next_.row(last)) scores[static_cast<size_t>(item)] += unit;
  return scores;
}

}  // namespace whyrec::data
