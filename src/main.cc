// whyrec: the command line. Each command is a function of src/commands/commands.h.
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "cluster/doctor.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/self_start.h"
#include "src/base/stop.h"
#include "src/commands/commands.h"

namespace {

using whyrec::Exit;
using whyrec::StartSelf;
using whyrec::commands::EmbedCommand;
using whyrec::commands::GenerateCommand;
using whyrec::commands::IsReproducible;
using whyrec::commands::RunOptions;
namespace fs = std::filesystem;

void AddRunOptions(CLI::App& command, RunOptions& options) {
  command.add_option("CONFIG", options.config, "configuration, text format (.txtpb)")->required();
  command.add_option("--workspace", options.workspace,
                     "folder of the run; default: runs/<config name>");
  command.add_option("--set", options.overrides, "path=value, for example train.global_batch=32")
      ->take_all()
      ->expected(1);
}

void AddWork(CLI::App& app, whyrec::commands::WorkOptions& work, bool& quiet) {
  CLI::App* command = app.add_subcommand(
      "work", "help a run in another process with texts, embeddings, predictions");
  AddRunOptions(*command, work.run);
  command->add_option("--join", work.join,
                      "HOST:PORT of the coordinator; default: read from the workspace");
  command
      ->add_option("--patience", work.patience,
                   "seconds to wait for a coordinator before giving up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--quiet", quiet, "print errors only");
  command->footer(
      "Example, on hosts that share the workspace's folder; on the first:\n"
      "  whyrec run configs/demo.txtpb --listen 0.0.0.0\non others, one of:\n"
      "  whyrec work configs/demo.txtpb\n  whyrec work --join node1:40123 configs/demo.txtpb");
}

void AddProgress(CLI::App& command, std::string& mode) {
  command
      .add_option("--progress", mode, "auto (a bar on a terminal, else lines), bar, lines or none")
      ->check(CLI::IsMember({"auto", "bar", "lines", "none"}));
}

void AddModelOptions(CLI::App& command, const std::string& what, fs::path& model, fs::path& in,
                     fs::path& out, std::string& device, std::string& dtype, int& threads) {
  command.add_option("--model", model, "Hugging Face folder: " + what)->required();
  command.add_option("--in", in, "JSON lines, plain or gzip")->required();
  command.add_option("--out", out, "result file; unfinished work is in <out>.partial")->required();
  command.add_option("--device", device, "auto, cpu, cuda or cuda:1")->capture_default_str();
  command.add_option("--dtype", dtype, "auto (bf16 on a GPU, else fp32), fp32 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  command.add_option("--threads", threads, "CPU threads; 0: all cores")
      ->check(CLI::NonNegativeNumber);
}

void AddGenerate(CLI::App& app, GenerateCommand& generate) {
  CLI::App* command =
      app.add_subcommand("generate", "generate texts from prompts; the same command resumes");
  AddModelOptions(*command, "T5 or Phi", generate.model, generate.in, generate.out,
                  generate.model_options.device, generate.model_options.dtype, generate.threads);
  auto& o = generate.options;
  auto& m = generate.model_options;
  command->add_option("--adapter", m.adapter, "peft folder with a LoRA adapter for a Phi model");
  command->add_option("--beams", o.beams, "beam search when above 1")->check(CLI::PositiveNumber);
  command
      ->add_option("--groups", o.groups, "diverse beam search: number of groups; divides --beams")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--diversity", o.diversity,
                   "penalty on a token's log probability for each earlier group's beam with it")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--min-new-tokens", o.min_new_tokens, "beam search: minimum length")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--return", o.returned, "answers per prompt")->check(CLI::PositiveNumber);
  command->add_option("--max-new-tokens", o.max_new_tokens)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--temperature", o.temperature, "sampling temperature; 0: greedy")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", o.top_k, "sample from the k most probable tokens; 0: all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-p", o.top_p, "sample from the most probable tokens up to this mass")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", o.seed, "random draws depend on the seed and the prompt's id only");
  command->add_flag("--chat", generate.chat, "wrap prompts in the Phi chat template");
  command->add_option("--system", generate.system, "with --chat: the system message");
  command->add_flag("--deterministic", m.deterministic,
                    "fixed batches: to the last bit, an answer depends on its \"group\" only");
  command->add_option("--batch-tokens", m.batch_tokens,
                      "tokens in the key-value cache at a time; 0: as memory allows");
  command->footer(
      "Lines in:  {\"id\": \"a\", \"prompt\": \"...\"} or {\"id\": 2, \"ids\": [5, 1]}\n"
      "Lines out: {\"id\": \"a\", \"outputs\": [{\"text\": \"...\", \"ids\": [...], \"score\": "
      "-1.2}]}\nExample:\n  whyrec generate --model t5-small --in prompts.jsonl --out "
      "answers.jsonl --beams 4 --return 2");
}

void AddEmbed(CLI::App& app, EmbedCommand& embed) {
  CLI::App* command =
      app.add_subcommand("embed", "encode texts as vectors; the same command resumes");
  AddModelOptions(*command, "BERT, DistilBERT, MiniLM or RoBERTa", embed.model, embed.in, embed.out,
                  embed.options.device, embed.options.dtype, embed.threads);
  using Pooling = decltype(embed.options.pooling);
  static const std::map<std::string, Pooling> poolings = {{"auto", Pooling::kAuto},
                                                          {"mean", Pooling::kMean},
                                                          {"cls", Pooling::kCls},
                                                          {"easyrec", Pooling::kEasyRec}};
  command->add_option("--max-tokens", embed.options.max_tokens,
                      "longer texts are truncated; 0: the model's limit");
  command->add_option("--pooling", embed.options.pooling, "auto, mean, cls or easyrec")
      ->transform(CLI::CheckedTransformer(poolings));
  command->footer(
      "Lines in: {\"id\": \"a\", \"text\": \"...\"}; out: one tensor \"embeddings\", one row per "
      "line, in order\nExample:\n  whyrec embed --model all-MiniLM-L6-v2 --in texts.jsonl --out "
      "x.safetensors");
}

// Runs before the initialisers of the libraries, so that a second start need not repeat them:
// LibTorch's take half a second.
void SetWaiting(int, char** arguments, char** environment) {
  StartSelf(arguments, environment, false);
}
[[gnu::section(".preinit_array"), gnu::used]] void (*const kBeforeAll)(int, char**,
                                                                       char**) = SetWaiting;

}  // namespace

int main(int argc, char** argv) {
  // Training frees and reallocates large blocks in every step: keep them in the process.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  CLI::App app("whyrec trains and compares recommenders that reason with language models.");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n  whyrec run configs/demo.txtpb\n  whyrec audit DATA_FOLDER --format json");
  RunOptions options;
  std::string target, format, progress = "auto";

  CLI::App* run =
      app.add_subcommand("run", "run missing or outdated stages; the same command resumes");
  AddRunOptions(*run, options);
  run->add_flag("--fresh", options.fresh, "delete the workspace's artefacts and start over");
  run->add_option("--stages", options.only,
                  "run stages of this kind, and stop before the first of another kind")
      ->check(CLI::IsMember({"solo", "leased", "collective"}));
  run->add_option("--listen", options.listen,
                  "address on which `whyrec work` can join; 0.0.0.0: all interfaces");
  AddProgress(*run, progress);
  run->footer(
      "Examples:\n  whyrec run configs/demo.txtpb\n  whyrec run configs/isrf_beauty.txtpb "
      "--set catalogue.folder=DATA --workspace runs/mine\nWith several ranks: launch/run.sh -n 2 "
      "CONFIG");
  CLI::App* plan = app.add_subcommand("plan", "show what `run` would do, and why");
  AddRunOptions(*plan, options);
  plan->footer("Example:\n  whyrec plan configs/demo.txtpb --set train.steps=100");
  bool next = false, quiet = false;
  plan->add_flag("--next", next, "print only the kind of the first stage that would run");
  whyrec::commands::WorkOptions work;
  AddWork(app, work, quiet);
  CLI::App* report = app.add_subcommand("report", "print the report of a finished run");
  report->add_option("WHERE", target, "workspace or configuration")->required();
  report->add_option("--format", format, "md or json")->check(CLI::IsMember({"md", "json"}));
  report->footer("Example:\n  whyrec report runs/demo --format json");
  CLI::App* describe =
      app.add_subcommand("describe", "list all configuration fields, or a system's knobs");
  describe->add_option("SYSTEM", target, "see `whyrec systems`");
  describe->footer("Examples:\n  whyrec describe\n  whyrec describe popularity");
  CLI::App* systems = app.add_subcommand("systems", "list the systems");
  systems->footer("Example:\n  whyrec systems");
  CLI::App* verify = app.add_subcommand("verify", "check the hash of every file of a workspace");
  verify->add_option("PATH", target, "workspace")->required();
  verify->footer("Example:\n  whyrec verify runs/demo");
  CLI::App* answers =
      app.add_subcommand("answers", "export a run's raw model answers as JSON lines, for replay");
  fs::path recorded;
  answers->add_option("PATH", target, "workspace")->required();
  answers->add_option("--out", recorded, "file; default: stdout");
  answers->footer(
      "Example:\n  whyrec answers runs/mine --out answers.jsonl\nand elsewhere, with the same data "
      "and configuration:\n  whyrec run CONFIG --set rationales.backend=REPLAY --set "
      "rationales.replay_file=answers.jsonl");
  CLI::App* audit =
      app.add_subcommand("audit", "how well rules without learning do from item numbers only");
  audit->add_option("FOLDER", target, "P5 data folder, or a configuration")->required();
  audit->add_option("--format", format, "table or json")->check(CLI::IsMember({"table", "json"}));
  audit->footer(
      "Examples:\n  whyrec audit data/beauty\n  whyrec audit configs/demo.txtpb --format json");
  GenerateCommand generate;
  EmbedCommand embed;
  AddGenerate(app, generate);
  AddEmbed(app, embed);
  for (const char* name : {"generate", "embed"}) AddProgress(*app.get_subcommand(name), progress);
  CLI::App* doctor =
      app.add_subcommand("doctor", "check ranks, MPI, devices, NCCL, network and shared folder");
  whyrec::cluster::DoctorOptions examine;
  doctor->add_option("--folder", examine.folder, "folder for runs, which all hosts must share");
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
      if (IsReproducible(options)) StartSelf(argv, environ, true);
      whyrec::CatchStopSignals();
      whyrec::commands::Run(options, whyrec::cluster::ReadLaunch());
    }
    if (app.got_subcommand("generate")) {
      whyrec::CatchStopSignals();
      whyrec::commands::Generate(generate);
    }
    if (app.got_subcommand("embed")) {
      whyrec::CatchStopSignals();
      whyrec::commands::Embed(embed);
    }
    if (app.got_subcommand("work")) {
      if (IsReproducible(work.run)) StartSelf(argv, environ, true);
      whyrec::CatchStopSignals();
      if (quiet) whyrec::SetLogRank(1);
      whyrec::commands::Work(work);
    }
    if (*plan) next ? whyrec::commands::PrintNext(options) : whyrec::commands::Plan(options);
    if (*report) whyrec::commands::PrintReport(target, format);
    if (*describe) whyrec::commands::Describe(target);
    if (*systems) whyrec::commands::ListSystems();
    if (*verify) whyrec::commands::Verify(target);
    if (*answers) whyrec::commands::Answers(target, recorded);
    if (*audit) whyrec::commands::Audit(target, format);
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
