// whyrec: the command line. Each command is a function of src/stages/commands.h.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "cluster/doctor.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/stop.h"
#include "src/stages/commands.h"

namespace {

using whyrec::Exit;
using whyrec::stages::RunOptions;

void AddRunOptions(CLI::App& command, RunOptions& options) {
  command.add_option("CONFIG", options.config, "configuration, text format (.txtpb)")->required();
  command.add_option("--workspace", options.workspace,
                     "folder of the run; default: runs/<config name>");
  command.add_option("--set", options.overrides, "path=value, for example train.global_batch=32")
      ->take_all()
      ->expected(1);
}

}  // namespace

int main(int argc, char** argv) {
  // Training frees and asks again for large blocks at every step; keep them instead of returning
  // them.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  CLI::App app("whyrec trains and compares recommenders that reason with language models.");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n  whyrec run configs/demo.txtpb\n  whyrec audit DATA_FOLDER --format json");
  RunOptions options;
  std::string target, format, progress = "auto";

  CLI::App* run = app.add_subcommand("run", "run what is not there yet; the same command resumes");
  AddRunOptions(*run, options);
  run->add_flag("--fresh", options.fresh, "forget what the workspace holds");
  run->add_option("--progress", progress, "auto, bar, lines or none")
      ->check(CLI::IsMember({"auto", "bar", "lines", "none"}));
  run->footer(
      "Examples:\n  whyrec run configs/demo.txtpb\n  whyrec run configs/isrf_beauty.txtpb "
      "--set catalogue.folder=DATA --workspace runs/mine\nWith several ranks: launch/run.sh -n 2 "
      "CONFIG");
  CLI::App* plan = app.add_subcommand("plan", "what `run` would do, and why");
  AddRunOptions(*plan, options);
  plan->footer("Example:\n  whyrec plan configs/demo.txtpb --set train.steps=100");
  CLI::App* report = app.add_subcommand("report", "print the report of a finished run");
  report->add_option("WHERE", target, "workspace or configuration")->required();
  report->add_option("--format", format, "md or json")->check(CLI::IsMember({"md", "json"}));
  report->footer("Example:\n  whyrec report runs/demo --format json");
  CLI::App* describe =
      app.add_subcommand("describe", "fields of a configuration, or a system's knobs");
  describe->add_option("SYSTEM", target, "see `whyrec systems`");
  describe->footer("Examples:\n  whyrec describe\n  whyrec describe popularity");
  CLI::App* systems = app.add_subcommand("systems", "list the systems");
  systems->footer("Example:\n  whyrec systems");
  CLI::App* verify = app.add_subcommand("verify", "check every artefact of a workspace by hash");
  verify->add_option("PATH", target, "workspace")->required();
  verify->footer("Example:\n  whyrec verify runs/demo");
  CLI::App* audit =
      app.add_subcommand("audit", "what rules without learning reach on item numbers alone");
  audit->add_option("FOLDER", target, "P5 data folder, or a configuration")->required();
  audit->add_option("--format", format, "table or json")->check(CLI::IsMember({"table", "json"}));
  audit->footer(
      "Examples:\n  whyrec audit data/beauty\n  whyrec audit configs/demo.txtpb --format json");
  CLI::App* doctor =
      app.add_subcommand("doctor", "check ranks, MPI, devices, NCCL, network and shared folder");
  whyrec::cluster::DoctorOptions examine;
  doctor->add_option("--folder", examine.folder, "where runs are to be written");
  doctor->add_option("--timeout", examine.seconds, "seconds to wait for a rank")
      ->check(CLI::PositiveNumber);
  doctor->footer("Examples:\n  whyrec doctor\n  mpirun -n 2 build/whyrec doctor --folder runs");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);  // prints help or the error
    return code == 0 ? 0 : static_cast<int>(Exit::kUsage);
  }
  try {
    using whyrec::ProgressMode;
    whyrec::SetProgressMode(progress == "bar"     ? ProgressMode::kBar
                            : progress == "lines" ? ProgressMode::kLines
                            : progress == "none"  ? ProgressMode::kNone
                                                  : ProgressMode::kAuto);
    if (*run) {
      whyrec::CatchStopSignals();
      whyrec::stages::Run(options, whyrec::cluster::ReadLaunch());
    }
    if (*plan) whyrec::stages::Plan(options);
    if (*report) whyrec::stages::PrintReport(target, format);
    if (*describe) whyrec::stages::Describe(target);
    if (*systems) whyrec::stages::ListSystems();
    if (*verify) whyrec::stages::Verify(target);
    if (*audit) whyrec::stages::Audit(target, format);
    if (*doctor) return whyrec::cluster::Doctor(examine, std::cout);
  } catch (const whyrec::Error& error) {
    std::cerr << "whyrec: " << error.what() << "\n";
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::cerr << "whyrec: internal error: " << error.what() << "\n";
    return static_cast<int>(Exit::kInternal);
  }
  return 0;
}
