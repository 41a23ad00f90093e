// run and work: one run in one workspace, on all ranks or as a leased worker.
#include "src/commands/commands.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <thread>

#include "cluster/doctor.h"
#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/text_file.h"
#include "src/config/run_config.h"
#include "src/nn/numeric.h"
#include "src/stages/runner.h"
#include "src/tensor/device_name.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

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

cluster::CommunicatorOptions OptionsOf(const config::RunConfig& config) {
  cluster::CommunicatorOptions options;
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
  for (const config::RunConfig& of : config::ByProtocol(config))
    for (const std::string& line : config::Canonical(of)) resolved += line + "\n";
  WriteDurably(folder / "config.resolved.txt", resolved);
}

// Removes all artefacts, also unfinished ones and those that this run would not make.
void Forget(const config::RunConfig& config, const store::Workspace& workspace) {
  for (const stages::Stage& stage : stages::Chain(config)) {
    const stages::Setting setting(stage, config, workspace);
    for (const std::string& name : setting.workspace.Names()) setting.workspace.Remove(name);
    setting.workspace.Remove(stage.name);
  }
}

constexpr stages::Kind kKinds[] = {stages::Kind::kSolo, stages::Kind::kLeased,
                                   stages::Kind::kCollective};

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

}  // namespace

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
    if (comm->rank() == 0 && options.fresh) Forget(config, workspace);
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
      std::cout << ReadFile(workspace.Of("report") / "report.md");
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

}  // namespace whyrec::commands
