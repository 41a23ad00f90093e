// ReasonEngine: prompts, levels, answers, second tries (pulse 5.1, 5.2, 6.2, 6.3), the same above
// every back end.
#pragma once

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "proto/config.pb.h"
#include "src/gen/evidence.h"
#include "src/gen/generator.h"
#include "src/gen/judge.h"
#include "src/gen/reason_tree.h"

namespace whyrec::gen {

class ReasonEngine {
 public:
  // `judge`: for BEAM_CHAIN, which prunes by score; else may be null. All outlive the engine.
  ReasonEngine(Generator& generator, const config::RunConfig& config, Judge* judge = nullptr);

  // r+ of prompt P1, one a user.
  std::vector<Node> Positive(std::span<const std::pair<Evidence, Target>> users);

  // Trees of the users, grown level by level over all of them; `begun` holds what an earlier try
  // completed (empty: nothing). `behaviours`: b_u, read by the judge only. `level_done` sees all
  // trees after each level.
  std::vector<ReasonTree> Grow(
      std::span<const Evidence> users, std::span<const std::string> behaviours,
      std::vector<ReasonTree> begun = {},
      const std::function<void(const std::vector<ReasonTree>&)>& level_done = {});
};

}  // namespace whyrec::gen
