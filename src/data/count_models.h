// Popularity and first-order Markov: scores by counting training transitions. No parameters.
#pragma once

#include <span>
#include <vector>

#include "src/base/ragged.h"

namespace whyrec::data {

// Interactions per item over `histories`.
std::vector<double> Popularity(const Ragged<int64_t>& histories, int64_t items);

// count(last item, item right after it); equal counts by popularity.
class Markov {
 public:
  Markov(const Ragged<int64_t>& histories, int64_t items);
  // Scores of all items after `last`: count * (1 + largest popularity) + popularity.
  std::vector<double> Scores(int64_t last) const;

 private:
  Ragged<int64_t> next_;  // item -> items that followed it, with repeats
  std::vector<double> popularity_;
};

}  // namespace whyrec::data
