// What tests of PULSE's chain share: configurations, what a run holds, recorded answers.
#pragma once

#include <fstream>
#include <map>

#include "src/base/hash.h"
#include "src/gen/pulse_prompts.h"
#include "src/gen/reason_engine.h"
#include "src/gen/reason_pool.h"
#include "src/gen/record.h"
#include "src/lm/thought_space.h"
#include "src/stages/backend.h"
#include "src/stages/examples.h"
#include "src/store/hdf5_file.h"
#include "tests/stages/pulse_tiny.h"
#include "tests/stages/run.h"

namespace whyrec::stages {

inline config::RunConfig LoadPulse(const Names& variants, const Names& overrides = {}) {
  const Temporary folder;
  Names all = PulseSystems(variants);
  all.insert(all.end(), overrides.begin(), overrides.end());
  return config::Load(WritePulse(folder.path()), all);
}

inline gen::ReasonPool TreesOf(const fs::path& workspace) {
  return gen::LoadPool(workspace / "rationales.tree/reasons.h5");
}
inline gen::Choices ChoicesOf(const fs::path& workspace, const std::string& by) {
  return gen::LoadChoices(workspace / ("select." + by) / "selection.h5");
}
inline std::string FactOf(const fs::path& workspace, const std::string& stage,
                          const std::string& name) {
  const auto manifest = store::Workspace(workspace).Find(stage);
  if (manifest)
    for (const auto& fact : manifest->fact())
      if (fact.name() == name) return fact.value();
  return "no such fact";
}

// The split of a finished run, and what its prompts are made of.
struct PulseData {
  PulseData(const fs::path& workspace, const config::RunConfig& of)
      : config(of),
        train(data::LoadTrainView(workspace / "split")),
        labels(data::LoadLabels(workspace / "split")),
        examples(train, labels) {
    const store::Hdf5Reader file(workspace / "neighbours/neighbours.h5");
    for (const char* split : kSplits)
      neighbours[split] = file.Read(split + Names::value_type("/neighbours"));
  }

  gen::Evidence EvidenceOf(const std::string& split, int64_t user) const {
    return examples.EvidenceOf(split, user, neighbours.at(split).row<int32_t>(user),
                               config.pulse().neighbours());
  }
  gen::PromptLimits limits() const {
    return {config.pulse().positive().review_tokens(), config.pulse().positive().prompt_tokens()};
  }

  const config::RunConfig config;
  const data::TrainView train;
  const data::LabelStore labels;
  const Examples examples;
  std::map<std::string, HostTensor> neighbours;  // by split
};

// Passes questions on and keeps the last answer to each as a line of a replay file.
class Recorder final : public gen::Generator {
 public:
  explicit Recorder(gen::Generator& writer) : writer_(writer) {}
  std::string name() const override { return writer_.name(); }
  std::vector<gen::Reply> Generate(const std::vector<gen::Request>& requests,
                                   const gen::Sampling& sampling) override {
    auto replies = writer_.Generate(requests, sampling);
    for (size_t i = 0; i < requests.size(); ++i) {
      gen::Request request = requests[i];
      request.attempt = 0;
      const gen::Reply& reply = replies[i];
      lines_[request.Name()] = gen::RecordLine(request, {.raw = reply.text,
                                                         .model = reply.model,
                                                         .prompt_sha256 = Sha256Of(request.prompt),
                                                         .seed = reply.seed,
                                                         .tokens_in = reply.tokens_in,
                                                         .tokens_out = reply.tokens_out,
                                                         .log_probability = reply.log_probability,
                                                         .finished = reply.finished});
    }
    return replies;
  }
  void Save(const fs::path& jsonl) const {
    std::ofstream out(jsonl);
    for (const auto& [name, line] : lines_) out << line << "\n";
  }

 private:
  gen::Generator& writer_;
  std::map<std::string, std::string> lines_;
};

// Asks once more, all users at once, what the stages of a finished run asked unit by unit, and
// writes the answers down for REPLAY.
inline void RecordReasons(const config::RunConfig& config, const fs::path& folder,
                          const fs::path& jsonl) {
  store::Workspace workspace(folder);
  const auto alone = cluster::MakeSelf();
  const auto writer = MakeBackend({config, *alone, workspace}, config, Prompts::kPulse);
  Recorder recorder(*writer);
  std::unique_ptr<gen::Judge> judge;
  if (config.pulse().tree().algorithm() == config::TreeConfig::BEAM_CHAIN)
    judge = lm::LoadThoughtSpace(workspace.Of("thoughts"), "cpu");
  gen::ReasonEngine engine(recorder, config, judge.get());
  const PulseData data(folder, config);
  std::vector<std::pair<gen::Evidence, gen::Target>> chosen;
  std::vector<gen::Evidence> evidence;
  Names anchors;
  for (const char* split : kSplits)
    for (int64_t user = 0; user < data.train.user_count(); ++user) {
      if (!data.examples.Has(split, user)) continue;
      evidence.push_back(data.EvidenceOf(split, user));
      anchors.push_back(data.examples.AnchorOf(split, user, config.pulse().behaviour()));
      if (split != Names::value_type("train")) continue;
      chosen.push_back({{.split = split, .user = user, .history = evidence.back().history},
                        data.examples.TrainTarget(user)});
    }
  engine.Positive(chosen);
  engine.Grow(evidence, anchors);
  recorder.Save(jsonl);
}

}  // namespace whyrec::stages
