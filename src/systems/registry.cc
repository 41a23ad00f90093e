// The list of systems, which register themselves at start-up; looks up names, variants and knobs
// and suggests similar names for unknown ones.
#include <algorithm>

#include "src/config/run_config.h"
#include "src/systems/system.h"

namespace whyrec::systems {
namespace {

std::vector<System>& Registry() {
  static std::vector<System> systems;
  return systems;
}

}  // namespace

Registration::Registration(System system) {
  auto& all = Registry();
  all.insert(std::upper_bound(all.begin(), all.end(), system,
                              [](const System& a, const System& b) { return a.name < b.name; }),
             std::move(system));
}

const std::vector<System>& AllSystems() { return Registry(); }

const System& FindSystem(const std::string& name) {
  std::vector<std::string> names;
  for (const System& system : AllSystems()) {
    if (system.name == name) return system;
    names.push_back(system.name);
  }
  const std::string nearest = config::Nearest(name, names);
  Fail(Exit::kUsage, "there is no system \"", name, "\"",
       nearest.empty() ? "; see `whyrec systems`" : "; did you mean \"" + nearest + "\"?");
}

const Variant* FindVariant(const System& system, const std::string& name) {
  if (system.variants.empty()) {
    if (!name.empty())
      Fail(Exit::kUsage, "system ", system.name, " has no variants; leave out \"", name, "\"");
    return nullptr;
  }
  if (name.empty()) return &system.variants[0];
  std::vector<std::string> names;
  for (const Variant& variant : system.variants) {
    if (variant.name == name) return &variant;
    names.push_back(variant.name);
  }
  const std::string nearest = config::Nearest(name, names);
  Fail(Exit::kUsage, "system ", system.name, " has no variant \"", name, "\"",
       nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?", " (see `whyrec describe ",
       system.name, "`)");
}

std::map<std::string, double> KnobValues(const System& system, const config::SystemConfig& config) {
  std::map<std::string, double> values;
  std::vector<std::string> names;
  for (const Knob& knob : system.knobs) {
    values[knob.name] = knob.value;
    names.push_back(knob.name);
  }
  for (const auto& given : config.knob()) {
    const auto knob = std::find_if(system.knobs.begin(), system.knobs.end(),
                                   [&](const Knob& k) { return k.name == given.name(); });
    if (knob == system.knobs.end())
      Fail(Exit::kUsage, "system ", system.name, " has no knob \"", given.name(), "\"; nearest: \"",
           config::Nearest(given.name(), names), "\" (see `whyrec describe ", system.name, "`)");
    if (!given.has_value())
      Fail(Exit::kUsage, "system ", system.name, ": knob ", knob->name,
           " is given without a value");
    if (given.value() < knob->low || given.value() > knob->high)
      Fail(Exit::kUsage, "system ", system.name, ": knob ", knob->name, " is ", given.value(),
           "; must be in [", knob->low, ", ", knob->high, "]");
    values[knob->name] = given.value();
  }
  return values;
}

}  // namespace whyrec::systems
