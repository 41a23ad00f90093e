// report: the tables of a finished run.
#include <iostream>

#include "src/base/error.h"
#include "src/base/text_file.h"
#include "src/commands/commands.h"
#include "src/config/run_config.h"
#include "src/store/workspace.h"

namespace whyrec::commands {
namespace fs = std::filesystem;

void PrintReport(const fs::path& where, const std::string& format) {
  const fs::path workspace =
      fs::is_directory(where) ? where : fs::path("runs") / config::Load(where).name();
  const fs::path file = workspace / "report" / (format == "json" ? "report.json" : "report.md");
  if (!store::Workspace(workspace).Find("report"))
    Fail(Exit::kData, workspace.string(), ": has no finished report; run `whyrec run` first");
  std::cout << ReadFile(file);
}

}  // namespace whyrec::commands
