// ReasonEngine: prompts, levels, answers, second tries (pulse 5.1, 5.2, 6.2, 6.3), the same above
// every back end.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/config.pb.h"
#include "src/gen/evidence.h"
#include "src/gen/generator.h"
#include "src/gen/judge.h"
#include "src/gen/reason_tree.h"

namespace whyrec::gen {

// What stands for the target's title where pulse.positive.mask_target_title is on.
inline constexpr const char* kMaskedTitle = "the chosen item";

class ReasonEngine {
 public:
  // `judge`: for BEAM_CHAIN, which prunes by score; else may be null. All outlive the engine.
  ReasonEngine(Generator& generator, const config::RunConfig& config, Judge* judge = nullptr)
      : generator_(generator), config_(config), judge_(judge) {}

  // r+ of prompt P1, one a user.
  std::vector<Node> Positive(std::span<const std::pair<Evidence, Target>> users);

  // Trees of the users, grown level by level over all of them; `begun` holds what an earlier try
  // completed (empty: nothing). `behaviours`: b_u, read by the judge only. `level_done` sees all
  // trees after each level. A tree depends on its user alone, as far as generator and judge do.
  //
  // Level 0 is the base reason, node 0 "base". FULL_TREE: levels 1..depth hold `branch` rewritings
  // of each node before, "base/2/0". BEAM_CHAIN: the chains of levels 1..depth hang on nothing,
  // "chain/2", then on the `beam` best of the level before, "chain/2/0"; of chains with equal texts
  // the first stays.
  std::vector<ReasonTree> Grow(
      std::span<const Evidence> users, std::span<const std::string> behaviours,
      std::vector<ReasonTree> begun = {},
      const std::function<void(const std::vector<ReasonTree>&)>& level_done = {});

 private:
  struct Thought;  // a node to be
  std::vector<Thought> Thoughts(const Evidence& evidence, size_t user,
                                const ReasonTree& tree) const;
  void Think(std::span<const Evidence> users, const std::vector<Thought>& thoughts,
             std::vector<ReasonTree>& trees);
  void Rate(std::span<const std::string> behaviours, const std::vector<size_t>& users,
            std::vector<ReasonTree>& trees);

  Generator& generator_;
  const config::RunConfig& config_;
  Judge* judge_;
};

// For a stage's report, from what it stores.
struct ReasonCounts {
  int64_t texts = 0;
  int64_t made_of_facts = 0;     // no answer was of use
  int64_t words = 0;             // of all texts
  int64_t told = 0, titled = 0;  // texts with a known target; those that held its title

  void Add(const Node& node);
  void Add(const Node& node, const Target& target);  // of prompt P1
  // parse_rate, mean_words, and title_mention_rate where targets are known.
  std::vector<std::pair<std::string, std::string>> Facts() const;
};

// Whether the text holds the title, in any case, or what masks it.
bool MentionsTitle(const std::string& text, const std::string& title);
std::string MaskTitle(const std::string& text, const std::string& title);

}  // namespace whyrec::gen
