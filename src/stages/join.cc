// A worker that joins a run from outside: it follows the chain in the workspace and works on the
// stages that have a coordinator.
#include <chrono>
#include <thread>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/stop.h"
#include "src/base/text_file.h"
#include "src/stages/runner.h"
#include "src/stages/units.h"

namespace whyrec::stages {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

std::string FirstLine(const fs::path& file) {
  std::error_code absent;
  if (!fs::is_regular_file(file, absent)) return "";
  const std::string text = ReadFile(file);
  return text.substr(0, text.find('\n'));
}

// The address that the coordinator of exactly this work wrote; there may be an older run's file.
bool HasCoordinator(const RunContext& context, const fs::path& partial) {
  if (!context.leasing.address.empty()) return true;
  try {
    const std::string address = FirstLine(LeaseFolder(partial) / "address");
    return !address.empty() && address != "finished" &&
           FirstLine(partial / ".identity") == context.fingerprint;
  } catch (const Error&) {  // the file has just been removed
    return false;
  }
}

[[noreturn]] void NobodyIsThere(const Stage& stage, const std::string& reason,
                                const RunContext& context) {
  const fs::path workspace = context.workspace.folder();
  const fs::path partial = context.workspace.Partial(stage.name);
  const std::string begun = FirstLine(partial / ".identity");
  const std::string what =
      !begun.empty() && begun != context.fingerprint
          ? Cat(partial.string(), " belongs to another configuration")
          : Cat(workspace.string(), " waits for ", stage.name, " (", reason, ")");
  Fail(Exit::kLaunch, what, ", and no coordinator appeared within ", context.leasing.patience,
       " s; start `whyrec run --listen ...` with the same CONFIG and --set, and check that "
       "--workspace is the same folder on both hosts");
}

// Adds to a connection error what the user should check.
[[noreturn]] void ExplainJoin(const Error& error, const Stage& stage, const RunContext& context) {
  if (error.code() != Exit::kLaunch) throw error;
  Fail(Exit::kLaunch, "[", stage.name, "] ", error.what(), "; this worker's workspace is ",
       fs::absolute(context.workspace.folder()).string(),
       ", its CONFIG and --set must be the coordinator's, and so must the version of whyrec");
}

void Join(const Stage& stage, const RunContext& context) {
  Info(Cat("[", stage.name, "] joined the coordinator"));
  try {
    stage.run(context, context.workspace.Partial(stage.name));
  } catch (const Error& error) {
    ExplainJoin(error, stage, context);
  }
}

}  // namespace

void JoinChain(const RunContext& context) {
  Leasing leasing = context.leasing;
  for (const Stage& stage : Chain(context.config)) {
    Setting setting(stage, context.config, context.workspace);
    const store::Identity identity = IdentityOf(stage, setting);
    const auto reason = [&] { return setting.workspace.ReasonToRun(identity); };
    auto since = Clock::now();
    for (std::string why; !(why = reason()).empty();) {
      if (stage.kind == Kind::kCollective)
        return Info(Cat("[", stage.Title(), "] needs all ranks together: this worker leaves"));
      const RunContext own{setting.config, context.comm, setting.workspace, leasing,
                           identity.Fingerprint()};
      // An address given by the user is that of a running coordinator.
      if (stage.kind != Kind::kLeased && !leasing.address.empty())
        Fail(Exit::kLaunch, "the coordinator has finished ", stage.name,
             ", which for this worker has ", "to run (", why,
             "); CONFIG, --set and --workspace must be those of the coordinator");
      if (stage.kind == Kind::kLeased &&
          HasCoordinator(own, setting.workspace.Partial(stage.name))) {
        Join(stage, own);
        leasing.address.clear();  // the next stage listens at another port
        since = Clock::now();
      }
      if (StopRequested())
        Fail(Exit::kStoppedEarly, "stopped by a signal; finished units are kept");
      if (std::chrono::duration<double>(Clock::now() - since).count() > leasing.patience)
        NobodyIsThere(stage, why, own);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
}

}  // namespace whyrec::stages
