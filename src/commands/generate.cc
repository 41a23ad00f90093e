// whyrec generate: prompts in, answers out, one JSON object a line.
#include <map>
#include <set>

#include "src/base/durable_file.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/stop.h"
#include "src/base/text_file.h"
#include "src/commands/commands.h"
#include "src/commands/json_lines.h"
#include "src/commands/resumable.h"
#include "src/nn/numeric.h"
#include "src/store/workspace.h"
#include "src/tensor/device_name.h"
#include "src/text/chat.h"

namespace whyrec::commands {
namespace {

using Json = nlohmann::ordered_json;

struct Prompt {
  std::string id;    // as JSON text, so that 1 and "1" differ
  std::string text;  // or
  std::vector<int64_t> ids;
  std::string group;
};

std::vector<Prompt> ReadPrompts(const std::filesystem::path& file) {
  std::vector<Prompt> prompts;
  JsonLines lines(file);
  while (lines.Next()) {
    Prompt prompt{.id = lines.Id(), .text = "", .ids = {}, .group = lines.Text("group", "")};
    if (lines.json().contains("prompt") == lines.json().contains("ids"))
      Fail(Exit::kData, lines.place(), ": give either \"prompt\" or \"ids\"");
    if (lines.json().contains("prompt"))
      prompt.text = lines.Text("prompt");
    else
      prompt.ids = lines.Numbers("ids");
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

nlohmann::json IdentityOf(const GenerateCommand& command) {
  const lm::GenerateOptions& o = command.options;
  nlohmann::json identity = {{"command", "generate"},
                             {"model", store::ExternalInput("model", command.model).content()},
                             {"in", store::ExternalInput("in", command.in).content()},
                             {"beams", o.beams},
                             {"groups", o.groups},
                             {"diversity", o.diversity},
                             {"min_new_tokens", o.min_new_tokens},
                             {"return", o.returned},
                             {"max_new_tokens", o.max_new_tokens},
                             {"temperature", o.temperature},
                             {"top_k", o.top_k},
                             {"top_p", o.top_p},
                             {"seed", o.seed},
                             {"dtype", command.model_options.dtype},
                             {"deterministic", command.model_options.deterministic},
                             {"chat", command.chat},
                             {"system", command.system}};
  if (!command.model_options.adapter.empty())
    identity["adapter"] = store::ExternalInput("adapter", command.model_options.adapter).content();
  return identity;
}

void CheckOptions(const lm::GenerateOptions& o) {
  if (o.beams > 1 && o.returned > o.beams)
    Fail(Exit::kUsage, "--return ", o.returned, " is more than --beams ", o.beams);
  if (o.beams % o.groups != 0)
    Fail(Exit::kUsage, "--groups ", o.groups, " does not divide --beams ", o.beams);
  if (o.beams > 1 && o.temperature > 0)
    Fail(Exit::kUsage,
         "--temperature is for sampling, --beams for beam search: give only one of them");
  if (o.beams == 1 && (o.min_new_tokens > 0 || o.diversity > 0))
    Fail(Exit::kUsage, "--min-new-tokens and --diversity are for --beams above 1");
}

std::string AnswerLine(const std::string& id, const std::vector<lm::TextOutput>& outputs) {
  Json line = {{"id", Json::parse(id)}, {"outputs", Json::array()}};
  for (const lm::TextOutput& output : outputs)
    line["outputs"].push_back(Json{{"text", output.text},
                                   {"ids", output.ids},
                                   {"score", output.score},
                                   {"finished", output.finished}});
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The journal has the answers in the order in which they were finished; the result has them in the
// order of the prompts.
void WriteInOrder(const std::filesystem::path& out, const std::vector<Prompt>& prompts,
                  const std::vector<std::string>& lines) {
  std::map<std::string, const std::string*> by_id;
  for (const std::string& line : lines) by_id[Json::parse(line).at("id").dump()] = &line;
  std::string text;
  for (const Prompt& prompt : prompts) text += *by_id.at(prompt.id) + "\n";
  WriteDurably(out, text);
}

// The prompts that are not answered yet. Under --deterministic a group is one batch: when one of
// its answers is missing, all its prompts are run again, so that the batch is the same as without
// the interruption.
std::vector<lm::TextRequest> Requests(const GenerateCommand& command,
                                      const lm::LanguageModel& model,
                                      const std::vector<Prompt>& prompts,
                                      const std::set<std::string>& answered) {
  std::set<std::string> unfinished;
  if (command.model_options.deterministic)
    for (const Prompt& prompt : prompts)
      if (!answered.contains(prompt.id) && !prompt.group.empty()) unfinished.insert(prompt.group);
  std::vector<lm::TextRequest> requests;
  for (const Prompt& prompt : prompts) {
    if (answered.contains(prompt.id) && !unfinished.contains(prompt.group)) continue;
    lm::TextRequest request{.name = prompt.id, .ids = prompt.ids, .group = prompt.group};
    if (request.ids.empty()) {
      std::vector<text::ChatMessage> messages;
      if (!command.system.empty()) messages.push_back({"system", command.system});
      messages.push_back({"user", prompt.text});
      request.ids = model.Prompt(command.chat ? text::ChatPrompt(messages) : prompt.text);
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace

void Generate(const GenerateCommand& command) {
  CheckOptions(command.options);
  const std::vector<Prompt> prompts = ReadPrompts(command.in);
  ResumableOutput output(command.out, IdentityOf(command));
  if (output.finished()) {
    Info(Cat("nothing to do: ", command.out.string(), " already has all ", prompts.size(),
             " answers"));
    return;
  }
  nn::SetThreads(command.threads);
  auto options = command.model_options;
  options.device = tensor::DeviceOfRank(options.device, cluster::ReadLocalLaunch());
  const auto model = lm::LoadLanguageModel(command.model, options);
  LineJournal journal(output.partial());
  std::set<std::string> answered;
  for (const std::string& line : journal.lines())
    answered.insert(Json::parse(line).at("id").dump());
  Progress progress("generate", static_cast<int64_t>(prompts.size()), "prompts");
  progress.Resume(static_cast<int64_t>(answered.size()));
  const std::vector<lm::TextRequest> requests = Requests(command, *model, prompts, answered);
  model->Generate(
      requests, command.options,
      [&](size_t request, std::vector<lm::TextOutput> outputs) {
        if (answered.contains(requests[request].name)) return;
        journal.Append(AnswerLine(requests[request].name, outputs));
        progress.Advance();
      },
      StopRequested);
  if (journal.lines().size() < prompts.size())
    Fail(Exit::kStoppedEarly, "stopped by a signal; ", journal.lines().size(),
         " answers are kept in ", output.partial().string(), ": run the same command again");
  WriteInOrder(command.out, prompts, journal.lines());
  output.Finish({{"prompts", prompts.size()}, {"model_folder", command.model.string()}});
}

}  // namespace whyrec::commands
