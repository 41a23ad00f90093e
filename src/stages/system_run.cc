// Which systems a run names, what they need and what they do for its stages.
#include "src/stages/system_run.h"

#include <algorithm>
#include <cctype>

#include "src/base/error.h"
#include "src/config/run_config.h"

namespace whyrec::stages {
namespace {

bool Plays(const systems::System& system, systems::Role role) {
  return std::ranges::count(system.roles, role) > 0;
}

}  // namespace

SystemRun::SystemRun(const config::RunConfig& run, const config::SystemConfig& of)
    : chosen(of),
      system(systems::FindSystem(of.name())),
      config(config::WithTraining(config::WithTraining(run, system.training(run)), of.train())),
      variant(systems::FindVariant(system, of.variant())),
      trained_as(variant && !variant->trained_as.empty()
                     ? systems::FindVariant(system, variant->trained_as)
                     : variant) {}

std::string SystemRun::Instance(const systems::Variant* of) const {
  std::string name = system.name + (of ? "." + of->name : "");
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

std::vector<std::string> SystemRun::Settings(const systems::Variant* of) const {
  std::vector<std::string> lines;
  const config::Knobs knobs = systems::KnobValues(system, chosen);
  for (const auto& [name, value] : knobs.values())
    lines.push_back("knob." + name + "=" + config::Canonical(value));
  if (of) lines.push_back("variant=" + of->name);
  if (chosen.has_train() || system.training(config).ByteSizeLong() > 0)
    for (const std::string& line : config::Canonical(config, {"train"}))
      lines.push_back("own " + line);
  return lines;
}

std::unique_ptr<ranking::Recommender> SystemRun::Build(const RunContext& context,
                                                       const data::TrainView& train,
                                                       const systems::Variant* of) const {
  ranking::BuildContext build{.config = config,
                              .train = train,
                              .knobs = systems::KnobValues(system, chosen),
                              .variant = of ? of->name : ""};
  for (const std::string& need : Needs(of)) build.artefacts[need] = context.workspace.Of(need);
  return system.build(build);
}

void CheckSystems(const config::RunConfig& config) {
  if (config.system_size() == 0)
    Fail(Exit::kUsage, "the configuration names no system; add for example  system { name: \"",
         systems::AllSystems().front().name, "\" }");
  std::map<std::string, int> entries, trainings;  // the first of each name
  for (int i = 0; i < config.system_size(); ++i) {
    const SystemRun run(config, i);
    if (!entries.emplace(run.Name(), i).second)
      Fail(Exit::kUsage, "system \"", run.Name(),
           "\" is named twice; the entries of a run must differ in name or variant. To compare "
           "other "
           "knobs or another train { }, write a second configuration with  base:  this one");
    const auto [first, fresh] = trainings.emplace(run.Train(), i);
    const SystemRun other(config, first->second);
    if (!fresh && other.Settings(other.trained_as) != run.Settings(run.trained_as))
      Fail(Exit::kUsage, "\"", run.Name(), "\" and \"", other.Name(),
           "\" share one training; give both entries the same knobs and the same train { }");
  }
}

std::set<std::string> NeedsOfSystems(const config::RunConfig& config) {
  std::set<std::string> needs;
  for (int i = 0; i < config.system_size(); ++i) {
    const SystemRun run(config, i);
    for (const auto* variant : {run.variant, run.trained_as})
      for (const std::string& need : run.Needs(variant)) needs.insert(need);
  }
  return needs;
}

std::optional<int> PlayerOf(systems::Role role, const config::RunConfig& config) {
  for (int i = 0; i < config.system_size(); ++i)
    if (Plays(systems::FindSystem(config.system(i).name()), role)) return i;
  return std::nullopt;
}

int NeedPlayer(systems::Role role, const config::RunConfig& config, const std::string& what_for) {
  if (const auto i = PlayerOf(role, config)) return *i;
  std::string known;
  for (const systems::System& system : systems::AllSystems())
    if (Plays(system, role))
      known += Cat(known.empty() ? "" : "  or  ", "system { name: \"", system.name, "\" }");
  Fail(Exit::kUsage, what_for, " come from a system of the run; add  ", known);
}

}  // namespace whyrec::stages
