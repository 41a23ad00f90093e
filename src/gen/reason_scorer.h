// ReasonScorer: how well a reason agrees with what a user did, S(r) = cos(E_r(r), E_b(b)) of PULSE
// equation 2.
#pragma once

#include <string>
#include <vector>

namespace whyrec::gen {

class ReasonScorer {
 public:
  virtual ~ReasonScorer() = default;
  // reasons[i] are those of behaviours[i] -> one score each, in the same shape.
  virtual std::vector<std::vector<float>> Score(
      const std::vector<std::string>& behaviours,
      const std::vector<std::vector<std::string>>& reasons) = 0;
};

}  // namespace whyrec::gen
