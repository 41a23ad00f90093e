// What tests of PULSE's chain share: configurations, what a run holds.
#pragma once

#include <fstream>
#include <map>

#include "src/base/hash.h"
#include "src/gen/pulse_prompts.h"
#include "src/gen/reason_engine.h"
#include "src/gen/reason_pool.h"
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
inline gen::ChosenReasons ChoicesOf(const fs::path& workspace, const std::string& by) {
  return gen::LoadChosen(workspace / ("select." + by) / "selection.h5");
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

}  // namespace whyrec::stages
