// The reason that PULSE's scorer reads for every user, by variant. A1 to A3 and B1 to B4 are the
// rows of the paper's tables 4 and 5.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/gen/reason_pool.h"
#include "src/systems/system.h"

namespace whyrec::systems {

// A variant of the system: how r* is chosen, and what the variant is for.
struct Ablation {
  const char *name, *select, *doc;  // select: "thought" for the artefact select.thought; "": none
  const char* trained_as = "";
};

inline constexpr Ablation kAblations[] = {
    {"THOUGHT", "thought", "reasons chosen in thought space (A3, B4)"},
    {"NONE", "", "history and candidates alone (B1)"},
    {"BASE", "base", "the base reason (B2)"},
    {"LOG_LIKELIHOOD", "log_likelihood", "reasons by log likelihood (B3)"},
    {"DISTILBERT", "distilbert", "reasons by the cosine of the untrained encoder (A1)"},
    {"SBERT", "sbert", "reasons by the cosine of a sentence encoder (A2)"},
    {"RANDOM", "random", "reasons by chance"},
    {"SHUFFLED", "thought", "control: at test everybody gets the reason of another user",
     "THOUGHT"},
    {"PRIOR", "", "control: likelihood of the titles alone, without training (L19)"},
    {"ORACLE", "oracle", "control: reasons scored against a behaviour that holds the target"},
    {"BLIND", "blind", "test reasons scored without the target", "THOUGHT"},
};
const Ablation& AblationOf(const std::string& variant);  // "": the first

// r_u* of equation 2, chosen by an earlier stage.
class Reasons {
 public:
  // Reads <artefact>/selection.h5 of the variant's choice. Error(kData) when it is for other users.
  explicit Reasons(const BuildContext& context);

  // Split: "train", "validation", "test". Null: none.
  const gen::ChosenReason* Of(const std::string& split, int64_t user) const;

 private:
  void Shuffle(uint64_t seed);

  const bool withheld_at_test_;
  gen::ChosenReasons choices_;
  std::vector<int64_t> others_;  // by user, whose reason it gets; empty: the own
};

}  // namespace whyrec::systems
