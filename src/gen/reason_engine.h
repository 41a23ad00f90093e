// ReasonEngine: grows PULSE's trees of thoughts over any back end: prompts, levels, parsing, second
// tries.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/gen/evidence.h"
#include "src/gen/generator.h"
#include "src/gen/reason_scorer.h"
#include "src/gen/reason_tree.h"

namespace whyrec::gen {

// Replaces the target's title when pulse.positive.mask_target_title is on.
inline constexpr const char* kMaskedTitle = "the chosen item";

class ReasonEngine {
 public:
  // `scorer`: for BEAM_CHAIN, which prunes by score; otherwise it may be null. All arguments must
  // outlive the engine.
  ReasonEngine(Generator& generator, const config::RunConfig& config,
               ReasonScorer* scorer = nullptr)
      : generator_(generator), config_(config), scorer_(scorer) {}

  // r+ of prompt P1, one a user.
  std::vector<ReasonNode> Positive(std::span<const std::pair<Evidence, Target>> users);

  // One tree per user, grown level by level over all users at once. `begun`: the levels that an
  // interrupted earlier run completed, or empty. `behaviours`: b_u of each user, for the scorer
  // only. `level_done` is called with all trees after each level. A tree does not depend on the
  // other users, unless generator or scorer do.
  //
  // Level 0 is the base reason, node 0 "base". FULL_TREE: each node of the previous level gets
  // `branch` refinements, "base/2/0". BEAM_CHAIN: level 1 starts chains of thoughts ("chain/2"),
  // later levels extend the `beam` best chains of the level before ("chain/2/0"); of chains with
  // equal texts the first is kept.
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
  ReasonScorer* scorer_;
};

// For a stage's report, from what it stores.
struct ReasonCounts {
  int64_t texts = 0;
  int64_t made_of_facts = 0;     // no answer was usable
  int64_t words = 0;             // of all texts
  int64_t told = 0, titled = 0;  // texts with a known target; those that held its title

  void Add(const ReasonNode& node);
  void Add(const ReasonNode& node, const Target& target);  // of prompt P1
  // parse_rate, mean_words, and title_mention_rate where targets are known.
  Facts ToFacts() const;
};

// Whether the text holds the title, in any case, or what masks it.
bool MentionsTitle(const std::string& text, const std::string& title);
std::string MaskTitle(const std::string& text, const std::string& title);

}  // namespace whyrec::gen
