// The facts of a request as JSON: {"domain": ..., "facts": ItemFacts or UserFacts}, or
// {"evidence": Evidence, "target": Target of prompt P1 alone}.
#pragma once

#include <nlohmann/json.hpp>

#include "src/gen/evidence.h"
#include "src/gen/isrf_chain.h"

namespace whyrec::gen {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ItemFacts, title, brand, categories, description)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Purchase, title, brand, categories, traits, rating, review)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserFacts, purchases)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Event, title, rating, review)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Evidence, split, user, history, neighbours)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Target, title)

}  // namespace whyrec::gen
