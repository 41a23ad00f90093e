// The facts of a request as JSON: {"domain": ..., "facts": ItemFacts or UserFacts}.
#pragma once

#include <nlohmann/json.hpp>

#include "src/gen/isrf_chain.h"

namespace whyrec::gen {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ItemFacts, title, brand, categories, description)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Purchase, title, brand, categories, traits, rating, review)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserFacts, purchases)

}  // namespace whyrec::gen
