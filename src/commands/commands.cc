#include "src/commands/commands.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "cluster/doctor.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/config/manual.h"
#include "src/config/run_config.h"
#include "src/data/audit.h"
#include "src/data/count_report.h"
#include "src/nn/numeric.h"
#include "src/stages/stage.h"
#include "src/stages/system_run.h"
#include "src/tensor/device_name.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

config::RunConfig Load(const RunOptions& options) {
  return config::Load(options.config, options.overrides, systems::Check);
}

fs::path WorkspaceOf(const RunOptions& options, const config::RunConfig& config) {
  return options.workspace.empty() ? fs::path("runs") / config.name() : fs::path(options.workspace);
}

// Held by rank 0 until the process ends: two runs in one workspace would overwrite each other.
void LockWorkspace(const fs::path& workspace) {
  const int file = open((workspace / ".lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (file < 0) Fail(Exit::kCannotWrite, workspace.string(), ": cannot be written");
  if (flock(file, LOCK_EX | LOCK_NB) != 0)
    Fail(Exit::kUsage, workspace.string(),
         ": another run is using this workspace; wait for it, or "
         "choose another one with --workspace");
}

void SetThreadsOf(const config::RunConfig& config, const cluster::Launch& launch) {
  if (config.execution().reproducible()) {
    nn::UsePlainKernels();
    Info("execution.reproducible: kernels that every x86-64 CPU has, one thread per rank");
    return;
  }
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int wanted = config.execution().threads();
  nn::SetThreads(wanted > 0 ? wanted : std::max(1, cores / launch.local_size));
}

// Reports a device name that is wrong on any machine before anything starts. A reproducible run
// uses the CPU: GPUs of different models round differently.
void CheckDevice(config::RunConfig& config) {
  constexpr int kMany = 1 << 20;
  const std::string device = config.execution().device();
  cluster::DeviceName(device, {}, kMany);
  if (!config.execution().reproducible()) return;
  if (device != "auto" && device != "cpu")
    Fail(Exit::kUsage, "execution.reproducible needs a CPU, but execution.device is ", device);
  config.mutable_execution()->set_device("cpu");
}

// Replaces execution.device by the name of the device that this process uses.
void TakeDevice(config::RunConfig& config, const cluster::Launch& launch) {
  config.mutable_execution()->set_device(tensor::DeviceOfRank(config.execution().device(), launch));
}

cluster::Options OptionsOf(const config::RunConfig& config) {
  cluster::Options options;
  options.seconds = config.execution().timeout_s();
  options.first_seconds = std::max(options.first_seconds, options.seconds);
  options.device = config.execution().device();
  return options;
}

// Writes <workspace>/log/<UTC>/config.resolved.txt: the full configuration of each run that did
// some work.
void LogStart(const fs::path& workspace, const config::RunConfig& config) {
  const fs::path folder = workspace / "log" / store::UtcNow();
  fs::create_directories(folder);
  std::string resolved;
  for (const std::string& line : config::Canonical(config)) resolved += line + "\n";
  store::WriteFileAtomically(folder / "config.resolved.txt", resolved);
}

constexpr stages::Kind kKinds[] = {stages::Kind::kSolo, stages::Kind::kLeased,
                                   stages::Kind::kCollective};

const char* KindName(stages::Kind kind) {
  if (kind == stages::Kind::kSolo) return "solo";
  return kind == stages::Kind::kLeased ? "leased" : "collective";
}

std::optional<stages::Kind> KindOf(const RunOptions& options) {
  for (stages::Kind kind : kKinds)
    if (options.only == KindName(kind)) return kind;
  return std::nullopt;
}

// Ranks on one host use the loopback interface, others the network.
std::string ListenOf(const RunOptions& options, const cluster::Launch& launch) {
  if (!options.listen.empty() || launch.size == 1) return options.listen;
  return launch.local_size == launch.size ? "127.0.0.1" : "0.0.0.0";
}

void PrintFiles(const fs::path& workspace) {
  std::cout
      << "\nFiles in " << workspace.string()
      << ": report/report.md and report.json; catalogue/, split/, rationales.*/records.jsonl.gz, "
         "embeddings/, graphs/, train.*/ (model.safetensors, losses.csv), predict.*/, metrics.*/; "
         "each folder has a manifest.txtpb\n";
}

data::Numbering AsGiven(const data::Catalogue& catalogue) {
  data::Numbering numbers;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) numbers.user.push_back(u + 1);
  for (int64_t i = 0; i < catalogue.item_count(); ++i) {
    numbers.item.push_back(i + 1);
    numbers.item_row.push_back(i);
  }
  return numbers;
}

std::vector<data::AuditValue> Rules(const data::NumberedSequences& data, const std::string& suffix,
                                    uint64_t seed) {
  std::vector<data::AuditValue> all;
  for (auto&& part : {data::RuleR1(data), data::RuleR2(data), data::RuleR3(data),
                      data::RuleDigitCount(data, seed)})
    for (data::AuditValue value : part) {
      value.check += suffix;
      all.push_back(value);
    }
  return all;
}

}  // namespace

bool IsReproducible(const RunOptions& options) {
  return config::Load(options.config, options.overrides).execution().reproducible();
}

void Run(const RunOptions& options, const cluster::Launch& launch) {
  const auto start = std::chrono::steady_clock::now();
  config::RunConfig config = Load(options);
  SetLogRank(launch.rank);
  stages::Chain(config);  // reports errors in the configuration before anything starts
  CheckDevice(config);
  SetThreadsOf(config, launch);
  const std::unique_ptr<cluster::Communicator> comm = cluster::Connect(launch, OptionsOf(config));
  try {
    TakeDevice(config, launch);
    store::Workspace workspace(WorkspaceOf(options, config));
    if (comm->rank() == 0) LockWorkspace(workspace.folder());
    if (comm->rank() == 0 && options.fresh) {
      for (const std::string& name : workspace.Names()) workspace.Remove(name);
      for (const stages::Stage& stage : stages::Chain(config))
        workspace.Remove(stage.name);  // unfinished ones too
    }
    comm->Barrier();
    cluster::CheckRanks(*comm, launch, workspace.folder());
    const auto ran = stages::RunChain({.config = config,
                                       .comm = *comm,
                                       .workspace = workspace,
                                       .leasing = {.listen = ListenOf(options, launch)}},
                                      KindOf(options));
    if (comm->rank() != 0) return;
    if (!ran.empty()) LogStart(workspace.folder(), config);
    if (options.only.empty()) {
      std::cout << store::ReadTextFile(workspace.Of("report") / "report.md");
      PrintFiles(workspace.folder());
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    char time[32];
    std::snprintf(time, sizeof time, "%.1f s", seconds);
    Info(ran.empty() ? Cat("nothing to do: all artefacts are up to date (checked in ", time, ")")
                     : Cat("done in ", time, ": ", ran.size(), " stages ran"));
  } catch (const Error& error) {
    if (comm->size() == 1 || error.code() == Exit::kStoppedEarly) throw;
    std::cerr << "whyrec: " << error.what() << "\n";
    comm->Abort(static_cast<int>(error.code()));
  } catch (const std::exception& error) {
    if (comm->size() == 1) throw;
    std::cerr << "whyrec: " << error.what() << "\n";
    comm->Abort(static_cast<int>(Exit::kInternal));
  }
}

void Work(const WorkOptions& options) {
  config::RunConfig config = Load(options.run);
  stages::Chain(config);
  CheckDevice(config);
  TakeDevice(config, cluster::ReadLocalLaunch());
  SetThreadsOf(config, {});
  const fs::path folder = WorkspaceOf(options.run, config);
  if (!fs::is_directory(folder))
    Fail(Exit::kLaunch, folder.string(),
         ": no such workspace on this host; with --workspace, give the coordinator's, on a shared "
         "folder");
  store::Workspace workspace(folder);
  const auto alone = cluster::MakeSelf();
  stages::JoinChain(
      {.config = config,
       .comm = *alone,
       .workspace = workspace,
       .leasing = {.join = true, .address = options.join, .patience = options.patience}});
  Info("no leased work is left");
}

void PrintNext(const RunOptions& options) {
  const config::RunConfig config = Load(options);
  const auto next = stages::FindNext(config, store::Workspace(WorkspaceOf(options, config)));
  std::cout << (next ? KindName(next->kind) : "nothing") << (next && next->begun ? " begun" : "")
            << "\n";
}

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
  const fs::path folder = WorkspaceOf(options, config);
  std::cout << "workspace " << folder.string() << "\n";
  for (const std::string& line : stages::PlanChain(config, store::Workspace(folder)))
    std::cout << line << "\n";
  PrintMemory(config);
  std::cout << "\nprotocol " << config::RunConfig::Protocol_Name(config.protocol()) << "\n";
  for (const std::string& line : config::ProtocolKeys(config)) std::cout << "  " << line << "\n";
}

void PrintReport(const fs::path& where, const std::string& format) {
  const fs::path workspace =
      fs::is_directory(where) ? where : fs::path("runs") / config::Load(where).name();
  const fs::path file = workspace / "report" / (format == "json" ? "report.json" : "report.md");
  if (!store::Workspace(workspace).Find("report"))
    Fail(Exit::kData, workspace.string(), ": has no finished report; run `whyrec run` first");
  std::cout << store::ReadTextFile(file);
}

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

void Verify(const fs::path& path) {
  if (!fs::is_directory(path)) Fail(Exit::kData, path.string(), ": is not a workspace");
  const store::Workspace workspace(path);
  const auto problems = workspace.VerifyAll();
  std::string all;
  for (const std::string& problem : problems) all += "\n  " + problem;
  if (!problems.empty()) Fail(Exit::kData, path.string(), ": ", problems.size(), " problems:", all);
  std::cout << workspace.Names().size() << " artefacts, all files match their manifests\n";
}

void Audit(const fs::path& source, const std::string& format) {
  config::CatalogueConfig catalogue_config;
  config::SplitConfig split;
  if (fs::is_directory(source)) {
    catalogue_config.set_folder(source.string());
  } else {
    const config::RunConfig config = config::Load(source);
    catalogue_config = config.catalogue();
    split = config.split();
  }
  data::Facts facts;
  const data::Catalogue whole = data::ReadSource(catalogue_config, facts);
  const data::Catalogue catalogue = data::ApplyShortUsers(whole, split.short_users());
  const auto numbered = [&](const data::Numbering& numbers) {
    return data::Number(catalogue, numbers, split.held_out());
  };
  auto values = Rules(numbered(AsGiven(catalogue)), "", split.negative_seed());
  split.set_item_ids(config::SplitConfig::PERMUTED);
  split.set_user_ids(config::SplitConfig::PERMUTED);
  const data::Split strict = data::MakeSplit(catalogue, split);
  for (auto&& part : {Rules(numbered(strict.train.numbers), ", renumbered", split.negative_seed()),
                      data::TieOrder(catalogue_config)})
    values.insert(values.end(), part.begin(), part.end());
  const auto counts = data::CountReport(catalogue_config);
  if (format == "json") {
    for (const auto& value : data::CountValues(counts)) values.push_back(value);
    nlohmann::json json = nlohmann::json::array();
    for (const auto& v : values)
      json.push_back(
          {{"check", v.check}, {"metric", v.metric}, {"value", v.value}, {"users", v.users}});
    std::cout << json.dump(1) << "\n";
    return;
  }
  std::printf("%-44s %-8s %8s %8s\n", "check", "metric", "value", "users");
  for (const auto& v : values)
    std::printf("%-44s %-8s %8.4f %8lld\n", v.check.c_str(), v.metric.c_str(), v.value,
                static_cast<long long>(v.users));
  if (counts.empty()) return;
  auto rows = counts;
  rows.push_back(data::CountsOf(whole));
  std::cout << "\n" << data::CountTable(rows);
  if (const auto* published = data::FindPublishedCounts(catalogue.dataset))
    std::cout << data::DataMismatch(*published, rows.back())
                     .value_or("the catalogue is that of the paper's table")
              << "\n";
}

}  // namespace whyrec::commands
