// What the template back end writes: the answer of a model that follows rules, as JSON.
#pragma once

#include <cstdint>
#include <string>

#include "src/gen/generator.h"

namespace whyrec::gen {

std::string IsrfTemplate(const Request& request);  // kinds "item" and "user"
// Steps "positive", "base", "base/i/j" and "chain/i/j" of a user of a split: what the reviews keep
// saying (review_words.h). Nodes stress different words and sentences; all of a tree keep the first
// word. Which one stresses what depends on (seed, kind, id) and the step's numbers.
std::string PulseTemplate(const Request& request, uint64_t seed);

}  // namespace whyrec::gen
