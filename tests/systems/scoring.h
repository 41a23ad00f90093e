// A scorer of random weights over PULSE's made-up world: its prompts and its logits.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/systems/pulse/model.h"
#include "src/systems/pulse/prompt.h"
#include "tests/systems/pulse/world.h"

namespace whyrec::systems {

using Names = std::vector<std::string>;

// A base of random weights, as the language stage leaves one.
inline void SaveRandomBase(const PulseWorld& world) {
  cluster::RunThreads(1, [&](cluster::Communicator& comm) { world.TrainBase(comm); });
}

struct Scoring {
  explicit Scoring(Names overrides) : world(12, WithBase(std::move(overrides))) {
    SaveRandomBase(world);
    tokenizer = text::LoadTokenizer(world.folder / "language");
    prompts = std::make_unique<ScorerPrompts>(world.split.train, world.config, *tokenizer);
  }
  static Names WithBase(Names overrides) {
    for (const char* one : {"pulse.language.train.steps=2", "pulse.language.train.epoch_steps=2"})
      overrides.insert(overrides.begin(), one);
    return overrides;
  }
  // Prompts of the first users with drawn reasons of different lengths.
  std::vector<ScorerPrompt> Drawn(bool turned = false) const {
    std::vector<ScorerPrompt> out;
    for (int64_t user = 0; user < 5; ++user) {
      const auto history =
          world.split.labels.InputHistory(data::Phase::kTest, world.split.train, user);
      const auto row = world.split.labels.Candidates(data::Phase::kTest, user);
      std::vector<int64_t> candidates(row.begin(), row.end());
      if (turned) std::ranges::reverse(candidates);
      gen::ChosenReason reason{.node = 0, .score = 0.25, .text = "likes"};
      for (int64_t i = 0; i < user * 3; ++i) reason.text += " soft and quiet things";
      out.push_back(prompts->Branched(history, 3, &reason, candidates));
    }
    return out;
  }
  std::vector<double> Logits(const std::string& kind, const std::vector<ScorerPrompt>& of,
                             const nn::Draws& draws = {}) const {
    const c10::NoGradGuard no_grad;
    config::RunConfig config = world.config;
    config::ScorerConfig::Logit logit = config::ScorerConfig::SCALAR_PACKED;
    EXPECT_TRUE(config::ScorerConfig::Logit_Parse(kind, &logit));
    config.mutable_pulse()->mutable_scorer()->set_logit(logit);
    PulseModel model(config, world.folder / "language");
    model.Initialise(9);
    // Away from the start, where adapters change nothing.
    for (const auto& [path, p] : model.trained().all())
      if (path.ends_with("lora_B.weight")) nn::FillNormal(p, path, 4, 0.05);
    const at::Tensor logits = model.Logits(of, draws).to(at::kDouble).contiguous();
    const double* values = logits.const_data_ptr<double>();
    return {values, values + logits.numel()};
  }

  PulseWorld world;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<ScorerPrompts> prompts;
};

inline double FurthestLogit(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double far = 0;
  for (size_t i = 0; i < a.size(); ++i) far = std::max(far, std::abs(a[i] - b[i]));
  return far;
}

}  // namespace whyrec::systems
