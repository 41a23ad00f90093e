// plan: what `run` would do, and the memory of training; --next for launch/run.sh.
#include <iomanip>
#include <iostream>
#include <set>

#include "src/commands/commands.h"
#include "src/config/run_config.h"
#include "src/stages/runner.h"
#include "src/stages/system_run.h"

namespace whyrec::commands {
namespace {

// One table per system; its variants are alike.
void PrintMemory(const config::RunConfig& config) {
  std::set<std::string> said;
  for (int i = 0; i < config.system_size(); ++i) {
    const stages::SystemRun run(config, i);
    if (!said.insert(run.system.name).second) continue;
    const systems::System::Memory memory = run.system.memory(run.config);
    if (!memory.empty())
      std::cout << "\nmemory of training " << run.system.name << " on a GPU, GB per rank\n";
    for (const auto& [item, bytes] : memory)
      std::cout << "  " << std::left << std::setw(44) << item << std::right << std::fixed
                << std::setprecision(3) << std::setw(9) << bytes / 1e9 << "\n";
  }
}

}  // namespace

void Plan(const RunOptions& options) {
  const config::RunConfig config = Load(options);
  const std::filesystem::path folder = WorkspaceOf(options, config);
  std::cout << "workspace " << folder.string() << "\n";
  for (const std::string& line : stages::PlanChain(config, store::Workspace(folder)))
    std::cout << line << "\n";
  const auto protocols = config::ByProtocol(config);
  PrintMemory(protocols.front());
  for (const config::RunConfig& of : protocols) {
    std::cout << "\nprotocol " << config::RunConfig::Protocol_Name(of.protocol()) << "\n";
    for (const std::string& line : stages::ProtocolKeys(of, stages::Chain(of)))
      std::cout << "  " << line << "\n";
  }
}

void PrintNext(const RunOptions& options) {
  const config::RunConfig config = Load(options);
  const auto next = stages::FindNext(config, store::Workspace(WorkspaceOf(options, config)));
  std::cout << (next ? KindName(next->kind) : "nothing") << (next && next->begun ? " begun" : "")
            << "\n";
}

}  // namespace whyrec::commands
