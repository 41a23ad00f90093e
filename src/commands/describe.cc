// describe and systems: options, systems and their knobs.
#include <cstdio>
#include <iostream>

#include "src/commands/commands.h"
#include "src/config/manual.h"
#include "src/systems/system.h"

namespace whyrec::commands {

void Describe(const std::string& name) {
  if (name.empty()) {
    std::cout << config::DescribeFields();
    return;
  }
  const systems::System& system = systems::FindSystem(name);
  std::cout << system.name << ": " << system.description << "\n";
  for (const auto& variant : system.variants)
    std::cout << "  variant " << variant.name << ": " << variant.doc << "\n";
  if (system.knobs.empty())
    std::cout << "  no knobs\n";
  else
    std::cout << "knobs, as in  system { name: \"" << system.name << "\" knobs { "
              << system.knobs[0].name << ": " << config::Print(system.knobs[0].value) << " } }\n"
              << config::DescribeKnobs(system.knobs);
  if (!system.config_parts.empty()) std::cout << "  configuration:";
  for (const std::string& part : system.config_parts) std::cout << " " << part;
  std::cout << "\n";
}

void ListSystems() {
  for (const auto& system : systems::AllSystems())
    std::printf("%-12s %s\n", system.name.c_str(), system.description.c_str());
}

}  // namespace whyrec::commands
