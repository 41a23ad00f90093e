#include "src/systems/pulse/thought_training.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/rng.h"
#include "src/lm/bert.h"
#include "src/lm/bert_folder.h"
#include "src/lm/bert_text.h"
#include "src/lm/thought_space.h"
#include "src/nn/cosine.h"
#include "src/nn/info_nce.h"
#include "src/tensor/device.h"
#include "src/tensor/parallel.h"
#include "src/train/checkpoint.h"
#include "src/train/team.h"
#include "src/train/trainer.h"

namespace whyrec::systems {
namespace fs = std::filesystem;
namespace {

using TokenLists = std::vector<std::vector<int64_t>>;  // tokens of each text

constexpr int64_t kOthers = 10;        // rationales beside the own one in retrieval: 1 of 11
constexpr int64_t kEncodedTexts = 64;  // at a time, without gradients
constexpr double kLeastTau = 0.01, kMostTau = 1;  // clamps the learnt tau; 1 is the public code's

// E_r, E_b and tau, from one start.
struct ThoughtModel {
  ThoughtModel(const config::RunConfig& config, const fs::path& start)
      : thought(config.pulse().thought()),
        device(tensor::ChooseDevice(config.execution().device())),
        parameters(config.train().dtype() == config::TrainConfig::FP64 ? at::kDouble : at::kFloat,
                   device),
        shape(ShapeOf(start)),
        rationale(shape, parameters, "rationale.", true, Products()),
        behaviour(shape, parameters, "behaviour.", true, Products()),
        log_tau(parameters.Add("log_tau", {}, thought.learn_temperature())) {
    rationale.Load(start);
    behaviour.Load(start);
    nn::Fill(log_tau, std::log(thought.temperature()));
  }

  lm::BertConfig ShapeOf(const fs::path& start) const {
    lm::BertConfig config = lm::LoadBertConfig(start);
    config.head = lm::BertConfig::Head::kNone;
    config.dropout = config.attention_dropout = thought.dropout();
    return config;
  }
  // bf16 products over fp32 masters on a GPU.
  at::ScalarType Products() const {
    return device.is_cuda() && parameters.dtype() == at::kFloat ? at::kBFloat16
                                                                : at::ScalarType::Undefined;
  }

  // [texts, d]
  at::Tensor Vectors(const lm::Bert& encoder, const TokenLists& texts,
                     const nn::Draws& draws) const {
    if (texts.empty())
      return at::zeros({0, shape.width}, at::TensorOptions(parameters.dtype()).device(device));
    return encoder.Forward(texts, lm::PoolingOf(thought.pooling()), draws);
  }

  const config::ThoughtConfig& thought;
  at::Device device;
  nn::Parameters parameters;
  lm::BertConfig shape;
  lm::Bert rationale, behaviour;
  at::Tensor log_tau;  // scalar
};

// The samples as tokens.
struct ThoughtTokens {
  ThoughtTokens(const std::vector<ThoughtSample>& samples, const lm::BertText& text,
                int64_t max_tokens)
      : with_target(samples.size()), history(samples.size()), rationale(samples.size()) {
    std::atomic<int64_t> cut_texts = 0;
    tensor::ParallelFor(std::ssize(samples), [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        const auto encode = [&](const std::string& of) {
          lm::BertText::Tokens tokens = text.Encode(of, max_tokens);
          cut_texts += tokens.cut;
          return std::move(tokens.ids);
        };
        with_target[i] = encode(samples[i].with_target);
        history[i] = encode(samples[i].history);
        rationale[i] = encode(samples[i].rationale);
      }
    });
    cut = cut_texts;
    for (int64_t i = 0; i < std::ssize(samples); ++i)
      (samples[static_cast<size_t>(i)].held_out ? held_out : trained).push_back(i);
  }

  TokenLists with_target, history, rationale;
  std::vector<int64_t> trained, held_out;  // numbers of samples
  int64_t cut = 0;
};

TokenLists Pick(const TokenLists& all, const std::vector<int64_t>& numbers, train::Slice slice) {
  TokenLists out;
  for (int64_t i = slice.begin; i < slice.end; ++i)
    out.push_back(all[static_cast<size_t>(numbers[static_cast<size_t>(i)])]);
  return out;
}

class ThoughtTraining final : public train::Trainable {
 public:
  ThoughtTraining(ThoughtModel& model, const ThoughtTokens& tokens, const config::RunConfig& config,
                  const train::Team& team)
      : model_(model), tokens_(tokens), config_(config), team_(team) {
    ChooseCandidates();
  }

  nn::Parameters& parameters() override { return model_.parameters; }
  train::ParameterRule RuleFor(const std::string& path) const override {
    if (path == "log_tau")
      return {.learning_rate = model_.thought.temperature_rate(), .decay = false};
    return {.decay = model_.parameters.Get(path).dim() > 1};  // neither biases nor norms
  }
  int64_t steps_per_epoch() const override {
    return config_.train().epoch_steps() > 0 ? config_.train().epoch_steps() : Batches();
  }

  // Every rank makes the whole loss from the gathered vectors; the gradient of its own rows goes
  // into its encoders, that of tau is rank 0's.
  train::StepLoss Loss(const train::Share& share) override {
    KeepTauInRange();
    const int64_t step = share.step;
    const std::vector<int64_t> batch = Batch(step);
    const train::Slice own = team_.Own(std::ssize(batch));
    TokenLists behaviours;
    for (int64_t i = own.begin; i < own.end; ++i)
      behaviours.push_back(TrainedBehaviour(step, batch[static_cast<size_t>(i)]));
    const nn::Draws draws = nn::DrawsOf(config_.seed(), step, own.begin, own.size());
    const at::Tensor h = team_.Gather(model_.Vectors(model_.behaviour, behaviours, draws));
    const at::Tensor z =
        team_.Gather(model_.Vectors(model_.rationale, Pick(tokens_.rationale, batch, own), draws));
    const at::Tensor negatives =
        nn::DrawNegatives(std::ssize(batch), model_.thought.negatives(), config_.seed(), step);
    return {.own = Nothing(),
            .shared = nn::InfoNce(h, z, negatives, team_.CountOnce(model_.log_tau)),
            .task = "thought"};
  }
  bool splits() const override { return false; }

  train::Validation Validate(int64_t) override {
    const double retrieval = Retrieval(team_);
    return {retrieval, /*lower_is_better=*/false, {{"R@1", retrieval}}};
  }

  // The share of held-out users whose own rationale is nearest, by the behaviours that reasons will
  // be scored against. Ties are misses.
  double Retrieval(const train::Team& team) const {
    const c10::NoGradGuard no_grad;
    const bool with_target =
        config_.pulse().behaviour().anchor() == config::BehaviourConfig::WITH_TARGET;
    const at::Tensor h = Encode(model_.behaviour,
                                with_target ? tokens_.with_target : tokens_.history, judged_, team);
    const at::Tensor z = Encode(model_.rationale, tokens_.rationale, pool_, team);
    const at::Tensor cosines =
        at::gather(nn::Cosines(h, z), 1, candidates_.to(h.device())).cpu();  // the own one first
    const at::Tensor best_other = std::get<0>(cosines.narrow(1, 1, cosines.size(1) - 1).max(1));
    return cosines.select(1, 0).gt(best_other).to(at::kDouble).mean().item<double>();
  }

  int64_t judged() const { return std::ssize(judged_); }

 private:
  // Clamps log tau before a step. Clamping tau inside the loss instead would give zero gradient
  // outside the range, and log tau could never return.
  void KeepTauInRange() {
    const c10::NoGradGuard no_grad;
    if (model_.thought.learn_temperature())
      model_.log_tau.clamp_(std::log(kLeastTau), std::log(kMostTau));
  }

  int64_t Batches() const {
    const int64_t size = config_.train().global_batch();
    return (std::ssize(tokens_.trained) + size - 1) / size;
  }

  // Samples of a step: passes over all of them, each in an order of its own; the last batch of a
  // pass may be short.
  std::vector<int64_t> Batch(int64_t step) {
    const int64_t pass = step / Batches(), size = config_.train().global_batch();
    if (pass != pass_) {
      order_ = tokens_.trained;
      Rng(config_.seed(), "thought order", static_cast<uint64_t>(pass)).Shuffle(order_);
      pass_ = pass;
    }
    const auto begin = order_.begin() + step % Batches() * size;
    return {begin, begin + std::min<int64_t>(size, order_.end() - begin)};
  }

  const std::vector<int64_t>& TrainedBehaviour(int64_t step, int64_t sample) const {
    Rng rng(config_.seed(), "target dropout", static_cast<uint64_t>(step),
            static_cast<uint64_t>(sample));
    const bool hidden = rng.Uniform() < model_.thought.target_dropout();
    return (hidden ? tokens_.history : tokens_.with_target)[static_cast<size_t>(sample)];
  }

  // Zero, with a gradient of zeros, so that a rank without rows can run the backward pass too.
  at::Tensor Nothing() const { return 0 * model_.parameters.Get(Bias()).sum(); }
  static const char* Bias() { return "behaviour.embeddings.LayerNorm.bias"; }

  // Users and rationales of the retrieval, the same at every validation. With few held-out users
  // the other rationales come from trained ones, too.
  void ChooseCandidates() {
    judged_ = tokens_.held_out;
    Rng(config_.seed(), "judged users").Shuffle(judged_);
    judged_.resize(std::min<size_t>(judged_.size(), config_.train().validation_users()));
    pool_ = judged_;
    if (std::ssize(pool_) <= kOthers)
      pool_.insert(pool_.end(), tokens_.trained.begin(), tokens_.trained.end());
    const at::Tensor others = nn::DrawNegatives(std::ssize(pool_), kOthers, config_.seed(), -1);
    candidates_ = at::cat({at::arange(judged()).unsqueeze(1), others.narrow(0, 0, judged())}, 1);
  }

  // [numbers, d], each rank its share.
  at::Tensor Encode(const lm::Bert& encoder, const TokenLists& all,
                    const std::vector<int64_t>& numbers, const train::Team& team) const {
    const train::Slice own = team.Own(std::ssize(numbers));
    std::vector<at::Tensor> parts = {model_.Vectors(encoder, {}, {})};
    for (int64_t begin = own.begin; begin < own.end; begin += kEncodedTexts) {
      const train::Slice part{begin, std::min(own.end, begin + kEncodedTexts)};
      parts.push_back(model_.Vectors(encoder, Pick(all, numbers, part), {}));
    }
    return team.Gather(at::cat(parts));
  }

  ThoughtModel& model_;
  const ThoughtTokens& tokens_;
  const config::RunConfig& config_;
  const train::Team& team_;
  std::vector<int64_t> order_;  // of the pass under way
  int64_t pass_ = -1;
  std::vector<int64_t> judged_, pool_;  // numbers of samples; pool_ begins with judged_
  at::Tensor candidates_;               // i64 [judged, 1 + others], rows of pool_
};

void Check(const std::vector<ThoughtSample>& samples) {
  const auto held_out = std::ranges::count(samples, true, &ThoughtSample::held_out);
  if (std::ssize(samples) - held_out < 2 || held_out < 1)
    Fail(Exit::kData, "the thought encoders have ", samples.size() - held_out,
         " users to train on and ", held_out,
         " held out; they need 2 and 1: users with two training items and a rationale");
}

// The folder that both encoders start from; rank 0 writes it where it is to be made.
fs::path StartFolder(const config::RunConfig& config, const train::Team& team,
                     const fs::path& folder) {
  const auto& thought = config.pulse().thought();
  if (thought.has_encoder()) return thought.encoder();
  const fs::path start = folder / "start";
  team.Once([&] { lm::WriteRandomEncoder(thought, config.seed(), start); });
  return start;
}

int64_t MaxTokens(const config::RunConfig& config, const lm::BertConfig& shape) {
  const int64_t asked = config.pulse().behaviour().max_tokens();
  if (asked > shape.longest())
    Fail(Exit::kUsage, "pulse.behaviour.max_tokens is ", asked, "; the encoder takes ",
         shape.longest());
  return asked;
}

void SaveEncoder(const lm::Bert& encoder, const fs::path& start, int64_t max_tokens,
                 const config::ThoughtConfig& thought, const fs::path& folder) {
  lm::CopyTokenizerFiles(start, folder);
  lm::SaveSentenceFiles(folder, lm::PoolingOf(thought.pooling()), encoder.config().width,
                        max_tokens, /*normalise=*/true);
  encoder.Save(folder);
}

}  // namespace

Facts TrainThoughts(const config::RunConfig& config, const std::vector<ThoughtSample>& samples,
                    cluster::Communicator& comm, const fs::path& folder) {
  const train::Team team(comm);
  Check(samples);
  fs::create_directories(folder);
  const fs::path start = StartFolder(config, team, folder);
  ThoughtModel model(config, start);
  const int64_t max_tokens = MaxTokens(config, model.shape);
  const ThoughtTokens tokens(samples, lm::BertText(start, model.shape), max_tokens);
  ThoughtTraining training(model, tokens, config, team);
  const double before = training.Retrieval(team);
  team.Once([&] { Info(Cat("  before training: R@1 ", before)); });
  Facts facts = train::Run(training, config.train(), folder, comm);
  team.Once([&] {
    const fs::path best = folder / "model.safetensors";
    train::LoadParameters(model.parameters, best);
    lm::ThoughtFacts reached{.log_tau = model.log_tau.item<double>(),
                             .pooling = model.thought.pooling(),
                             .max_tokens = max_tokens,
                             .retrieval_before = before,
                             .retrieval_after = training.Retrieval(train::Team::Alone()),
                             .held_out = training.judged()};
    if (model.thought.learn_temperature())  // the step after the last would have clamped it
      reached.log_tau = std::clamp(reached.log_tau, std::log(kLeastTau), std::log(kMostTau));
    SaveEncoder(model.rationale, start, max_tokens, model.thought, folder / "rationale");
    SaveEncoder(model.behaviour, start, max_tokens, model.thought, folder / "behaviour");
    lm::SaveThoughtFacts(reached, folder);
    fs::remove(best);  // the folders hold it all
    facts.emplace_back("users trained on", Cat(tokens.trained.size()));
    facts.emplace_back("users judged", Cat(reached.held_out));
    facts.emplace_back("R@1 before", Cat(reached.retrieval_before));
    facts.emplace_back("R@1 after", Cat(reached.retrieval_after));
    facts.emplace_back("temperature", Cat(std::exp(reached.log_tau)));
    facts.emplace_back("texts cut", Cat(tokens.cut));
  });
  return facts;
}

}  // namespace whyrec::systems
