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

config::Knobs KnobValues(const System& system, const config::SystemConfig& config) {
  std::vector<config::Problem> problems;
  config::Knobs knobs(system.knobs, config, system.name, problems);
  config::Require(problems);
  return knobs;
}

std::vector<config::Problem> Check(const config::RunConfig& config) {
  std::vector<config::Problem> problems;
  const auto attempt = [&](const std::string& path, const auto& act) {
    try {
      act();
    } catch (const Error& error) {
      problems.push_back({path, error.what()});
    }
  };
  for (int i = 0; i < config.system_size(); ++i) {
    const config::SystemConfig& given = config.system(i);
    const std::string at = Cat("system[", i, "]");
    const System* system = nullptr;
    attempt(at + ".name", [&] { system = &FindSystem(given.name()); });
    if (system == nullptr) continue;
    attempt(at + ".variant", [&] { FindVariant(*system, given.variant()); });
    config::Knobs(system->knobs, given, at, problems);
    for (const auto& [option, reason] : system->ignores) {
      const std::string path = option.starts_with("train") ? at + "." + option : option;
      if (config::IsStated(config, path))
        problems.push_back(
            {path, Cat(path, " has no effect on ", system->name, ", ", reason, "; leave it out")});
    }
  }
  return problems;
}

}  // namespace whyrec::systems
