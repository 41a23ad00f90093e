// What a stage says about its work for people: counts, hashes, rules used, lines dropped.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace whyrec {

// (name, value), in the order in which they are printed. They go into the artefact's manifest.
using Facts = std::vector<std::pair<std::string, std::string>>;

}  // namespace whyrec
