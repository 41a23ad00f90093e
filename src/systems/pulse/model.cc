#include "src/systems/pulse/model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "src/base/error.h"
#include "src/lm/text_engine.h"
#include "src/systems/pulse/memory.h"
#include "src/tensor/device.h"

namespace whyrec::systems {
namespace {

using config::ScorerConfig;
using config::TrainConfig;

at::ScalarType TrainedType(const config::RunConfig& config) {
  return config.train().dtype() == TrainConfig::FP64 ? at::kDouble : at::kFloat;
}

// Of the frozen base: pulse.scorer.dtype. A run in fp64 is in fp64 throughout.
at::ScalarType BaseType(const config::RunConfig& config, c10::Device device) {
  if (TrainedType(config) == at::kDouble) return at::kDouble;
  switch (config.pulse().scorer().dtype()) {
    case ScorerConfig::FP32:
      return at::kFloat;
    case ScorerConfig::BF16:
      return at::kBFloat16;
    default:
      return tensor::ChooseDtype("auto", device);
  }
}

lm::LoraConfig AdapterConfig(const ScorerConfig& scorer, bool head, const std::string& base) {
  lm::LoraConfig lora{.rank = scorer.rank(), .alpha = scorer.alpha(), .dropout = scorer.dropout()};
  if (scorer.all_linear()) lora.targets = {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"};
  if (head) lora.modules_to_save = {"score"};
  lora.task_type = head ? "SEQ_CLS" : "CAUSAL_LM";
  lora.base_model = base;
  return lora;
}

// Trees packed end to end, as a pass of the network takes them.
struct Packed {
  std::vector<lm::PackedBranches> trees;
  std::vector<nn::RowRun> prompts;  // of each tree
  std::vector<int64_t> ids;
  int64_t longest = 0;

  // The branch without its last `dropped` tokens.
  void Add(size_t prompt, const std::vector<int64_t>& prefix,
           std::span<const std::vector<int64_t>> branches, size_t dropped = 0) {
    lm::PackedBranches tree{.prefix = std::ssize(prefix)};
    ids.insert(ids.end(), prefix.begin(), prefix.end());
    for (const auto& branch : branches) {
      const auto tokens = static_cast<int64_t>(branch.size() - dropped);
      ids.insert(ids.end(), branch.begin(), branch.begin() + tokens);
      tree.branches.push_back(tokens);
    }
    longest = std::max(longest, tree.longest_path());
    prompts.push_back({static_cast<int64_t>(prompt), tree.tokens()});
    trees.push_back(std::move(tree));
  }

  at::Tensor Hidden(const lm::Phi& phi, const nn::Draws& draws) const {
    std::vector<at::Tensor> positions;
    for (const lm::PackedBranches& tree : trees) positions.push_back(lm::TreePositions(tree));
    const at::Device device = phi.table().front().second.device();
    return phi.Hidden(at::tensor(ids, at::kLong).to(device), at::cat(positions).to(device),
                      lm::TreeAttention(trees), longest,
                      nn::KeysOf(draws, "scorer", prompts, device));
  }
};

}  // namespace

PulseModel::PulseModel(const config::RunConfig& config, const std::filesystem::path& base)
    : scorer_(config.pulse().scorer()),
      base_folder_(base),
      base_(BaseType(config, tensor::ChooseDevice(config.execution().device())),
            tensor::ChooseDevice(config.execution().device())),
      trained_(TrainedType(config), base_.device()) {
  const bool scalar = HasScoreHead(scorer_);
  phi_ = std::make_unique<lm::Phi>(lm::LoadPhiConfig(base), lora() ? base_ : trained_, "", !lora());
  phi_->Load(base);
  if (lora())
    lora_ = std::make_unique<lm::Lora>(
        *phi_, AdapterConfig(scorer_, scalar, base.filename().string()), trained_);
  else if (scalar)
    trained_.Add("score.weight", {1, phi_->config().width});
  if (scalar) head_ = trained_.Get("score.weight");
}

void PulseModel::Initialise(uint64_t seed) {
  if (lora_)
    lora_->Initialise(seed);
  else if (head_.defined())
    nn::FillNormal(head_, "score.weight", seed, 0.02);
}

at::Tensor PulseModel::Logits(std::span<const ScorerPrompt> prompts, const nn::Draws& draws) const {
  const bool reads = HasScoreHead(scorer_) || scorer_.logit() == ScorerConfig::LETTER;
  return reads ? Readings(prompts, draws) : MeanLogLikelihoods(prompts, draws);
}

// l = w . h(last token of the branch), h after the last norm. With LETTER the letter's row of the
// LM head takes the place of w, and h is that of the prefix's last token.
at::Tensor PulseModel::Readings(std::span<const ScorerPrompt> prompts,
                                const nn::Draws& draws) const {
  using Branch = std::vector<int64_t>;
  Packed pass;
  std::vector<int64_t> places, letters;  // [C]
  const auto ends = [&](const ScorerPrompt& prompt, std::span<const Branch> branches) {
    int64_t end = std::ssize(pass.ids) + std::ssize(prompt.prefix);
    for (const Branch& branch : branches) places.push_back((end += std::ssize(branch)) - 1);
  };
  for (size_t i = 0; i < prompts.size(); ++i) {
    const ScorerPrompt& prompt = prompts[i];
    const std::span<const Branch> branches = prompt.branches;
    switch (scorer_.logit()) {
      case ScorerConfig::SCALAR_POINTWISE:
        for (size_t k = 0; k < branches.size(); ++k) {
          ends(prompt, branches.subspan(k, 1));
          pass.Add(i, prompt.prefix, branches.subspan(k, 1));
        }
        break;
      case ScorerConfig::SPAN_LISTWISE: {
        ends(prompt, branches);
        Branch list;
        for (const Branch& one : branches) list.insert(list.end(), one.begin(), one.end());
        pass.Add(i, prompt.prefix, {&list, 1});
        break;
      }
      case ScorerConfig::LETTER:
        pass.Add(i, prompt.prefix, {});
        places.insert(places.end(), branches.size(), std::ssize(pass.ids) - 1);
        for (const Branch& letter : branches) letters.push_back(letter.front());
        break;
      default:
        ends(prompt, branches);
        pass.Add(i, prompt.prefix, branches);
    }
  }
  const at::Tensor hidden = pass.Hidden(*phi_, draws);
  const at::Tensor rows = hidden.index_select(0, at::tensor(places, at::kLong).to(hidden.device()));
  if (!head_.defined()) return phi_->TokenLogits(rows, at::tensor(letters, at::kLong));
  return at::mv(rows.to(head_.scalar_type()), head_.squeeze(0));
}

// -log p of every branch token given its path, branch by branch. The last token of a branch
// predicts nothing, so it is not read.
at::Tensor PulseModel::TokenLosses(std::span<const ScorerPrompt> prompts,
                                   const nn::Draws& draws) const {
  Packed pass;
  std::vector<int64_t> rows, targets;  // [tokens of all branches]
  for (size_t i = 0; i < prompts.size(); ++i) {
    const ScorerPrompt& prompt = prompts[i];
    const int64_t first = std::ssize(pass.ids) + std::ssize(prompt.prefix);
    pass.Add(i, prompt.prefix, prompt.branches, 1);
    int64_t next = first;
    for (const auto& branch : prompt.branches) {
      for (size_t i = 0; i < branch.size(); ++i) rows.push_back(i == 0 ? first - 1 : next++);
      targets.insert(targets.end(), branch.begin(), branch.end());
    }
  }
  const at::Tensor hidden = pass.Hidden(*phi_, draws);
  return phi_->TokenLosses(hidden.index_select(0, at::tensor(rows, at::kLong).to(hidden.device())),
                           at::tensor(targets, at::kLong));
}

at::Tensor PulseModel::MeanLogLikelihoods(std::span<const ScorerPrompt> prompts,
                                          const nn::Draws& draws) const {
  std::vector<int64_t> owners;  // [tokens], the branch
  std::vector<double> lengths;  // [C]
  for (const ScorerPrompt& prompt : prompts)
    for (const auto& branch : prompt.branches) {
      owners.insert(owners.end(), branch.size(), std::ssize(lengths));
      lengths.push_back(static_cast<double>(branch.size()));
    }
  const at::Tensor losses = TokenLosses(prompts, draws);
  const at::Tensor sums =
      at::zeros({std::ssize(lengths)}, losses.options())
          .index_add(0, at::tensor(owners, at::kLong).to(losses.device()), losses);
  return -sums / at::tensor(lengths, losses.options());
}

at::Tensor PulseModel::CompletionLossSum(std::span<const ScorerPrompt> prompts,
                                         const nn::Draws& draws) const {
  return TokenLosses(prompts, draws).sum();
}

std::vector<std::vector<int64_t>> PulseModel::Complete(std::span<const ScorerPrompt> prompts,
                                                       const std::vector<std::string>& names,
                                                       const decode::Sampling& sampling,
                                                       int64_t most) const {
  std::vector<lm::EngineRequest> requests;
  for (size_t i = 0; i < prompts.size(); ++i)
    requests.push_back(
        {.name = names[i], .ids = prompts[i].prefix, .group = {}, .max_new_tokens = most});
  std::vector<std::vector<int64_t>> outputs(prompts.size());
  lm::TextEngine engine(*phi_, {});
  engine.Run(requests, sampling, [&](size_t request, lm::EngineOutput output) {
    outputs[request] = std::move(output.ids);
  });
  return outputs;
}

void PulseModel::Save(const std::filesystem::path& folder) const {
  if (lora_) {
    lora_->Save(folder / "adapter");
    return;
  }
  phi_->Save(folder / "model");
  const auto tokenizer = base_folder_ / "tokenizer.json";
  if (std::filesystem::exists(tokenizer))
    std::filesystem::copy_file(tokenizer, folder / "model" / "tokenizer.json",
                               std::filesystem::copy_options::overwrite_existing);
}

}  // namespace whyrec::systems
