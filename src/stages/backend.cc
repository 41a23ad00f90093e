#include "src/stages/backend.h"

#include "src/base/error.h"
#include "src/http/http.h"
#include "src/lm/in_process.h"
#include "src/stages/system_run.h"

namespace whyrec::stages {
namespace {

using config::RationalesConfig;

constexpr const char* kLanguage = "language";

bool Plain(const config::RunConfig& config, Prompts prompts) {
  return prompts == Prompts::kPulse && config.protocol() == config::RunConfig::AS_PUBLISHED &&
         config.reading() == config::RunConfig::RELEASED_CODE;
}

bool HasLanguageModel(const config::RunConfig& config) {
  return PlayerOf(systems::Role::kLanguageModel, config).has_value();
}

// The folder of the language model that writes: rationales.model, else that of the system that
// brings one. Empty when a stage of the run will train the latter.
std::filesystem::path NamedModel(const config::RunConfig& config) {
  if (config.rationales().has_model()) return config.rationales().model();
  return HasLanguageModel(config) ? config.pulse().language().folder() : "";
}

std::filesystem::path ModelFolder(const RunContext& context, const config::RunConfig& config) {
  const std::filesystem::path named = NamedModel(config);
  return named.empty() ? context.workspace.Of(kLanguage) : named;
}

}  // namespace

void BackendNeeds::AddTo(Stage& stage) const {
  stage.files.insert(stage.files.end(), files.begin(), files.end());
  stage.inputs.insert(stage.inputs.end(), inputs.begin(), inputs.end());
  stage.settings.insert(stage.settings.end(), settings.begin(), settings.end());
}

BackendNeeds BackendNeedsOf(const config::RunConfig& config, Prompts prompts) {
  const RationalesConfig& rationales = config.rationales();
  BackendNeeds needs;
  switch (rationales.backend()) {
    case RationalesConfig::TEMPLATE:
      if (prompts == Prompts::kPulse) needs.settings.push_back("seed=" + Cat(config.seed()));
      break;
    case RationalesConfig::REPLAY:
      if (!rationales.has_replay_file())
        Fail(Exit::kUsage, "rationales.backend is REPLAY, but rationales.replay_file is not set");
      needs.files.emplace_back("replay_file", rationales.replay_file());
      break;
    case RationalesConfig::IN_PROCESS:
      if (const auto named = NamedModel(config); !named.empty())
        needs.files.emplace_back("model", named);
      else if (prompts == Prompts::kPulse || HasLanguageModel(config))
        needs.inputs.push_back(kLanguage);
      else
        Fail(Exit::kUsage,
             "rationales.backend is IN_PROCESS, but rationales.model is not set: give the folder "
             "of a T5 or Phi-family model");
      needs.settings.push_back(Plain(config, prompts) ? "prompts=plain" : "prompts=chat");
      needs.settings.push_back("seed=" + Cat(config.seed()));
      break;
    case RationalesConfig::HTTP:
      if (rationales.http().endpoint_size() == 0)
        Fail(Exit::kUsage,
             "rationales.backend is HTTP, but no rationales.http.endpoint is set, for example "
             "http://127.0.0.1:8000/v1");
      needs.settings.push_back("seed=" + Cat(config.seed()));
      break;
  }
  return needs;
}

std::unique_ptr<gen::Generator> MakeBackend(const RunContext& context,
                                            const config::RunConfig& config, Prompts prompts) {
  BackendNeedsOf(config, prompts);
  const RationalesConfig& rationales = config.rationales();
  switch (rationales.backend()) {
    case RationalesConfig::TEMPLATE:
      return gen::MakeTemplate(config.seed());
    case RationalesConfig::REPLAY:
      return gen::MakeReplay(rationales.replay_file());
    case RationalesConfig::IN_PROCESS: {
      lm::ModelOptions options;
      options.device = config.execution().device();
      options.deterministic = rationales.deterministic();
      return lm::MakeInProcess(ModelFolder(context, config), options, config.seed(),
                               Plain(config, prompts) ? lm::Turns::kPlain : lm::Turns::kChat);
    }
    case RationalesConfig::HTTP:
      return http::MakeGenerator(http::OptionsOf(rationales.http(), config.seed()));
  }
  Fail(Exit::kUsage, "rationales.backend has no known value");
}

std::string DescribeBackend(const config::RunConfig& config) {
  const RationalesConfig& rationales = config.rationales();
  switch (rationales.backend()) {
    case RationalesConfig::TEMPLATE:
      break;
    case RationalesConfig::REPLAY:
      return "replayed from " + rationales.replay_file();
    case RationalesConfig::IN_PROCESS:
      return (NamedModel(config).empty() ? "the run's language model"
                                         : NamedModel(config).string()) +
             ", in process";
    case RationalesConfig::HTTP:
      return rationales.http().model() + " over HTTP";
  }
  return "template (made of metadata and reviews; no language model)";
}

Facts FactsOf(const gen::ReasonCounts& counts, const config::RunConfig& config) {
  Facts facts{{"texts written", Cat(counts.texts)},
              {"made of facts after failed answers", Cat(counts.made_of_facts)}};
  for (auto& fact : counts.ToFacts()) facts.push_back(std::move(fact));
  facts.emplace_back("reasons", DescribeBackend(config));
  return facts;
}

}  // namespace whyrec::stages
