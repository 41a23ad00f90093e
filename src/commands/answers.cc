// answers: exports a run's raw model answers as records, for rationales.replay_file.
#include <fstream>
#include <iostream>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/commands/commands.h"
#include "src/gen/record.h"
#include "src/store/workspace.h"

namespace whyrec::commands {
namespace fs = std::filesystem;
namespace {

constexpr const char* kBackend = "rationales.backend=";

// The value of rationales.backend that the artefact was made with.
std::string BackendOf(const artefact::Manifest& manifest) {
  for (const std::string& line : manifest.config())
    if (line.starts_with(kBackend)) return line.substr(std::string(kBackend).size());
  return "";
}

// Names of the stages whose texts a language model wrote.
std::vector<std::string> Answered(const fs::path& folder) {
  if (!fs::is_directory(folder)) Fail(Exit::kData, folder.string(), ": is not a workspace");
  const store::Workspace workspace(folder);
  std::vector<std::string> answered, made;
  for (const std::string& name : workspace.Names()) {
    const auto manifest = workspace.Find(name);
    if (!manifest || !name.starts_with("rationales.")) continue;
    if (BackendOf(*manifest) == "TEMPLATE") {
      made.push_back(name);
      continue;
    }
    if (!fs::exists(workspace.Of(name) / "records.jsonl.gz"))
      Fail(Exit::kData, workspace.Of(name).string(),
           ": has no records.jsonl.gz, because an older version of whyrec made it; `whyrec run` "
           "will make it again");
    answered.push_back(name);
  }
  if (answered.empty() && made.empty())
    Fail(Exit::kData, folder.string(),
         ": has no finished texts (rationales.*); run ISRF or PULSE there first");
  if (answered.empty())
    Fail(Exit::kData, folder.string(),
         ": nothing to record: rationales.backend is TEMPLATE, which makes the same texts again "
         "from the same data");
  for (const std::string& name : made) Info(Cat(name, ": TEMPLATE, nothing to record"));
  return answered;
}

// A text that was made from the facts, because no answer was usable, is not exported; the last raw
// answer is. Replaying it fails again and leads to the same text.
void Withdraw(gen::Answer& answer) {
  answer.text.clear();
  answer.why.clear();
  answer.parse = "failed";
}

}  // namespace

void Answers(const fs::path& workspace, const fs::path& file) {
  const std::vector<std::string> stages = Answered(workspace);
  if (!file.empty() && fs::exists(file))
    Fail(Exit::kUsage, file.string(), ": exists; remove it or give another name to --out");
  const fs::path partial = file.string() + ".partial";
  std::ofstream opened;
  if (!file.empty()) opened.open(partial, std::ios::binary);
  std::ostream& out = file.empty() ? std::cout : opened;
  int64_t all = 0, unusable = 0;
  for (const std::string& stage : stages) {
    gen::RecordReader reader(workspace / stage / "records.jsonl.gz");
    for (gen::Record record; out && reader.Next(record); ++all) {
      if (record.answer.parse == gen::kFallbackText) {
        Withdraw(record.answer);
        ++unusable;
      }
      out << gen::RecordLine({.kind = record.kind, .id = record.id, .step = record.step},
                             record.answer)
          << "\n";
    }
  }
  out.flush();
  if (!out)
    Fail(Exit::kCannotWrite, file.empty() ? "stdout" : partial.string(),
         ": cannot be written (disk full?)");
  if (!file.empty()) {
    opened.close();
    SyncToDisk(partial);
    RenameDurably(partial, file);
  }
  std::string from;
  for (const std::string& stage : stages) from += " " + stage;
  Info(Cat(all, " answers of", from, "; unusable, so that texts were made from facts: ", unusable));
}

}  // namespace whyrec::commands
