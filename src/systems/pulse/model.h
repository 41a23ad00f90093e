// f_theta of PULSE: a Phi decoder with adapters or trained in full, and a head w. Shapes: U prompts
// with C branches in all, N packed tokens, d width, V vocabulary.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/decode/sampling.h"
#include "src/lm/packed_branches.h"
#include "src/lm/phi.h"
#include "src/nn/parameters.h"
#include "src/systems/pulse/prompt.h"

namespace whyrec::systems {

class PulseModel {
 public:
  // `base`: Hugging Face folder of a Phi-family model. Its weights are read here; adapters and head
  // are zero until Initialise or until `trained()` is filled.
  PulseModel(const config::RunConfig& config, const std::filesystem::path& base);
  void Initialise(uint64_t seed);  // A uniform, B = 0, w ~ N(0, 0.02)

  // theta: adapters and head in fp32 (fp64 where train.dtype says so), or every weight and the
  // head.
  nn::Parameters& trained() { return trained_; }
  const lm::Phi& phi() const { return *phi_; }
  void RecomputeLayers(bool on) { phi_->RecomputeLayers(on); }

  // `draws`: one stream for each prompt in training, else none.
  //
  // l_{u,c}: one logit for every branch, prompt by prompt, [C] in the head's type.
  //   SCALAR_PACKED     w . h of a branch's last token, a prompt in one sequence
  //   SCALAR_POINTWISE  the same, a sequence for every branch
  //   SPAN_LISTWISE     w . h of a branch's last token, all branches in one causal sequence
  //   LETTER            logit of a branch's only token at the prefix's end
  //   TITLE_LL          mean log p of a branch's tokens
  at::Tensor Logits(std::span<const ScorerPrompt> prompts, const nn::Draws& draws) const;
  // TITLE_LL's, whatever the configuration says.
  at::Tensor MeanLogLikelihoods(std::span<const ScorerPrompt> prompts,
                                const nn::Draws& draws) const;
  // Sum of -log p over the tokens of the prompts' only branches.
  at::Tensor CompletionLossSum(std::span<const ScorerPrompt> prompts, const nn::Draws& draws) const;
  // One sampled continuation of every prompt; `names` are their random streams.
  std::vector<std::vector<int64_t>> Complete(std::span<const ScorerPrompt> prompts,
                                             const std::vector<std::string>& names,
                                             const decode::Sampling& sampling, int64_t most) const;

  // A peft folder "adapter", or "model", a Hugging Face folder with the tokenizer.
  void Save(const std::filesystem::path& folder) const;

 private:
  bool lora() const { return scorer_.train_weights() == config::ScorerConfig::LORA; }
  at::Tensor Readings(std::span<const ScorerPrompt> prompts, const nn::Draws& draws) const;
  at::Tensor TokenLosses(std::span<const ScorerPrompt> prompts, const nn::Draws& draws) const;

  const config::ScorerConfig& scorer_;
  std::filesystem::path base_folder_;
  nn::Parameters base_, trained_;  // all weights are in `trained_` when all are trained
  std::unique_ptr<lm::Phi> phi_;
  std::unique_ptr<lm::Lora> lora_;
  at::Tensor head_;  // w, [1,d]; undefined where the vocabulary's head is used
};

}  // namespace whyrec::systems
