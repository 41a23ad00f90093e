// Catalogues of a few histories, and the settings of a system that learns from them.
#pragma once

#include <string>
#include <vector>

#include "src/base/error.h"
#include "src/data/catalogue.h"

namespace whyrec::systems {

using Names = std::vector<std::string>;
using Histories = std::vector<std::vector<int64_t>>;

inline data::Catalogue CatalogueOf(const Histories& histories, int64_t items) {
  data::Catalogue out;
  for (int64_t i = 0; i < items; ++i) out.items.push_back({.id = Cat("i", i)});
  for (const auto& history : histories) {
    out.users.push_back(Cat("u", out.users.size()));
    out.histories.Append(history);
  }
  out.times.assign(out.histories.values.size(), 0);
  return out;
}

// Users walk round a circle of twelve items; the item after the last is the answer. Order is all
// there is to learn: the items are equally popular.
inline Histories Circle() {
  Histories out;
  for (int64_t u = 0; u < 36; ++u) {
    auto& row = out.emplace_back();
    for (int64_t k = 0; k < 5 + u % 4; ++k) row.push_back((u + k) % 12);
  }
  return out;
}

// Overrides as on the command line.
inline Names SettingsOf(const std::string& system, const Names& knobs, const Names& others) {
  Names out = {"system[0].name=" + system, "split.direct_negatives=2"};
  for (const std::string& knob : knobs) out.push_back("system[0].knobs." + knob);
  out.insert(out.end(), others.begin(), others.end());
  return out;
}

}  // namespace whyrec::systems
