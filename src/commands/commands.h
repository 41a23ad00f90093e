// The commands of the program. Results go to stdout, progress and messages to stderr.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"
#include "src/lm/encoder.h"
#include "src/lm/language_model.h"

namespace whyrec::commands {

struct RunOptions {
  std::filesystem::path config;
  std::string workspace;               // empty: runs/<config name>
  std::vector<std::string> overrides;  // "path=value"
  bool fresh = false;                  // delete the workspace's artefacts first
  std::string only;                    // "solo" | "leased" | "collective": stages of this kind
  std::string listen;  // address for `work` processes to connect to; "0.0.0.0": all interfaces
};

// Whether the configuration sets execution.reproducible (base/self_start.h says what that needs).
bool IsReproducible(const RunOptions& options);
void Run(const RunOptions& options, const cluster::Launch& launch);
void Plan(const RunOptions& options);
// Prints the kind of the first stage that has to run: "solo", "leased", "collective", or "nothing";
// followed by " begun" when an earlier attempt was interrupted in it.
void PrintNext(const RunOptions& options);

// Works on the leased stages of a run that another process started, in the same workspace.
struct WorkOptions {
  RunOptions run;
  std::string join;      // host:port of the coordinator; "": as the workspace says
  double patience = 60;  // seconds without a coordinator
};
void Work(const WorkOptions& options);
// `where`: a workspace, or a configuration (whose default workspace is used). format: "md" |
// "json".
void PrintReport(const std::filesystem::path& where, const std::string& format);
// What language models said in a run, as lines that rationales.replay_file takes (gen/record.h).
// `file` empty: to stdout. Error(kData) where none wrote there; Error(kUsage) where `file` exists.
void Answers(const std::filesystem::path& workspace, const std::filesystem::path& file);
void Describe(const std::string& system);  // empty: the configuration's fields
void ListSystems();
// Hashes of every artefact of a workspace; Error(kData) listing what is wrong.
void Verify(const std::filesystem::path& workspace);
// Rules R1-R3 on a P5 folder or a configuration's data, as numbered and after STRICT renumbering;
// popularity and Markov under file order and shuffled ties where there are time stamps.
void Audit(const std::filesystem::path& folder_or_config, const std::string& format);

// Answers of a language model to the prompts of a JSON-lines file: lines {"id", "prompt"} or
// {"id", "ids": [...]}, perhaps "group" -> {"id", "outputs": [{"text", "ids", "score",
// "finished"}]}, in input order. Continues an interrupted call with the same options.
struct GenerateCommand {
  std::filesystem::path model, in, out;
  lm::ModelOptions model_options;
  lm::GenerateOptions options;
  bool chat = false;   // prompts are what a user says: wrapped in the chat template
  std::string system;  // with chat: the system message
  int threads = 0;     // 0: all cores
};
void Generate(const GenerateCommand& command);

// Vectors of the texts of a JSON-lines file ({"id", "text"}): one tensor "embeddings" F32 [n,
// width], in input order. Continues likewise.
struct EmbedCommand {
  std::filesystem::path model, in, out;
  lm::EncoderOptions options;
  int threads = 0;
};
void Embed(const EmbedCommand& command);

}  // namespace whyrec::commands
