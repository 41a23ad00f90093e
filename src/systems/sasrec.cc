// sasrec: self-attention over a user's items (Kang & McAuley, ICDM 2018) as A-LLMRec and PULSE's
// public code train it (pulse 3.1). The network is in sasrec_network.cc; here it is trained,
// validated and asked. That code's own test reads a [1, 11] array of scores as if it had one
// dimension and so finds every target first; ours ranks on the candidates that all systems get.
#include <ATen/core/Tensor.h>
#include <ATen/ops/log_sigmoid.h>
#include <c10/core/GradMode.h>

#include "src/systems/sasrec_samples.h"
#include "src/systems/system.h"
#include "src/tensor/bridge.h"
#include "src/tensor/device.h"
#include "src/train/checkpoint.h"
#include "src/train/reducer.h"
#include "src/train/trainer.h"

namespace whyrec::systems {
namespace {

using config::TrainConfig;
using Form = SasRecConfig::Form;

SasRecConfig NetworkConfig(const BuildContext& context) {
  const config::Knobs& knobs = context.knobs;
  const std::string& form = knobs.Word("form");
  return {.items = context.train.item_count(),
          .dim = knobs.Count("dim"),
          .blocks = knobs.Count("blocks"),
          .heads = knobs.Count("heads"),
          .length = knobs.Count("length"),
          .dropout = knobs.Number("dropout"),
          .form = form == "ORIGINAL"         ? Form::kOriginal
                  : form == "POST_NORM_2025" ? Form::kPostNorm2025
                                             : Form::kPreNorm2025};
}

class SasRecRecommender final : public Recommender {
 public:
  explicit SasRecRecommender(const BuildContext& context)
      : config_(context.config),
        train_(context.train),
        full_softmax_(context.knobs.Word("loss") == "CE"),
        parameters_(config_.train().dtype() == TrainConfig::FP64 ? at::kDouble : at::kFloat,
                    tensor::ChooseDevice(config_.execution().device())),
        network_(NetworkConfig(context), parameters_) {}

  data::Facts Train(TrainContext& context) override;

  void Load(const std::filesystem::path& folder) override {
    train::LoadParameters(parameters_, folder / "model.safetensors");
  }

  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    return FromScores(queries, tensor::ToHost(Scores(queries)));
  }

  HostTensor UserVectors(const std::vector<Query>& queries) override {
    const c10::NoGradGuard no_grad;
    const bool padded = config_.pulse().neighbours().vector() == config::NeighboursConfig::PADDED;
    return tensor::ToHost(States(queries, padded).to(at::kFloat));
  }

  // h_T . e_i of every item, F64 [queries, I] on the host.
  at::Tensor Scores(const std::vector<Query>& queries) const {
    const c10::NoGradGuard no_grad;
    return network_.ItemScores(States(queries, true)).to(at::kDouble).cpu();
  }

  const config::RunConfig& config_;
  const data::TrainView& train_;
  const bool full_softmax_;
  nn::Parameters parameters_;
  SasRecNetwork network_;

 private:
  at::Tensor States(const std::vector<Query>& queries, bool padded) const {
    SasRecBatch batch;
    for (const Query& query : queries) network_.Append(query.history, padded, batch);
    return network_.LastStates(batch);
  }
};

// The recommender as the training loop sees it.
class SasRecTraining final : public train::Trainable {
 public:
  SasRecTraining(SasRecRecommender& system, TrainContext& context)
      : system_(system),
        network_(system.network_),
        config_(system.config_),
        context_(context),
        source_(system.train_.histories, context.negative_exclusion, system.train_.item_count(),
                config_.seed(), system.network_.config().form != Form::kOriginal) {}

  nn::Parameters& parameters() override { return system_.parameters_; }

  int64_t steps_per_epoch() const override {
    const auto& train = config_.train();
    return train.epoch_steps() > 0
               ? train.epoch_steps()
               : std::max<int64_t>(1, system_.train_.user_count() / train.global_batch());
  }

  train::StepLoss Loss(int64_t step) override { return PartLoss(step, {}); }

  // The mean over the targets of the global batch.
  train::StepLoss PartLoss(int64_t step, const train::Part& part) override {
    const cluster::Communicator& comm = context_.comm;
    const int64_t size = config_.train().global_batch(), first = step * size;
    const train::Slice here =
        train::PartSlice(train::RankSlice(size, comm.rank(), comm.size()), part);
    const auto samples = source_.Draw(first + here.begin, first + here.end, network_);
    const int64_t count = source_.CountTargets(first, first + size, network_.config().length);
    const nn::Draws draws = nn::DrawsOf(config_.seed(), step, here.begin, here.size());
    return {.own = LossSum(network_, samples, system_.full_softmax_, draws) /
                   static_cast<double>(count),
            .shared = {},
            .task = system_.full_softmax_ ? "CE" : "BCE"};
  }

  train::Validation Validate(int64_t) override {
    const c10::NoGradGuard no_grad;
    const std::vector<int64_t> users = ValidationUsers(context_.labels, config_);
    const bool metric = config_.train().stop() == TrainConfig::METRIC;
    constexpr size_t kUnit = 64;
    double sum = 0;
    for (size_t begin = context_.comm.rank() * kUnit; begin < users.size();
         begin += context_.comm.size() * kUnit)
      sum += Unit(std::span(users).subspan(begin, std::min(kUnit, users.size() - begin)), metric);
    const double value = train::Sum(sum, context_.comm) / static_cast<double>(users.size());
    return {value, !metric, {{metric ? "sequential HR@10" : LossName(), value}}};
  }

 private:
  const char* LossName() const { return system_.full_softmax_ ? "CE" : "BCE"; }

  // Hits of the validation items among the first ten of all items but those of training, or their
  // losses.
  double Unit(std::span<const int64_t> users, bool metric) const {
    std::vector<Query> queries;
    for (int64_t user : users)
      queries.push_back(
          {user, context_.labels.InputHistory(data::Phase::kValidation, system_.train_, user), {}});
    const at::Tensor all = system_.Scores(queries);
    double sum = 0;
    for (size_t i = 0; i < users.size(); ++i)
      sum += metric ? Hit(all[static_cast<int64_t>(i)], queries[i])
                    : TargetLoss(all[static_cast<int64_t>(i)], queries[i].user);
    return sum;
  }

  double Hit(const at::Tensor& scores, const Query& query) const {
    const int64_t target = context_.labels.Target(data::Phase::kValidation, query.user);
    std::vector<uint8_t> mask(scores.numel());
    for (int64_t item : query.history) mask[item] = 1;
    mask[target] = 0;
    const auto rank = eval::RankOf({scores.const_data_ptr<double>(), mask.size()}, target, mask);
    return eval::HitRate(rank, 10, eval::Ties::kPessimistic);
  }

  // BCE against one negative, the same at every validation.
  double TargetLoss(const at::Tensor& scores, int64_t user) const {
    const int64_t target = context_.labels.Target(data::Phase::kValidation, user);
    if (system_.full_softmax_) return (scores.logsumexp(0) - scores[target]).item<double>();
    const auto row = context_.negative_exclusion.row(user);
    std::vector<int64_t> avoided(row.begin(), row.end());
    avoided.push_back(target);
    Rng rng(config_.seed(), "sasrec validation", 0, static_cast<uint64_t>(user));
    const int64_t other = data::DrawNegatives(system_.train_.item_count(), avoided, 1, rng)[0];
    return -(at::log_sigmoid(scores[target]) + at::log_sigmoid(-scores[other])).item<double>();
  }

  SasRecRecommender& system_;
  const SasRecNetwork& network_;
  const config::RunConfig& config_;
  TrainContext& context_;
  SasRecSource source_;
};

data::Facts SasRecRecommender::Train(TrainContext& context) {
  if (context.comm.size() > config_.train().global_batch())
    Fail(Exit::kUsage, "train.global_batch is ", config_.train().global_batch(),
         ", fewer than the ", context.comm.size(), " ranks");
  network_.Initialise(config_.seed());
  SasRecTraining training(*this, context);
  TrainConfig config = config_.train();
  config.set_weight_decay(0);  // the public code has none
  return train::Run(training, config, context.folder, context.comm);
}

const Registration kRegistration({
    .name = "sasrec",
    .description = "causal self-attention over a user's items (Kang & McAuley 2018)",
    .knobs =
        {knob::Count("dim", 50, {1, 4096},
                     "d, width of item vectors and states; the paper's default"),
         knob::Count(
             "blocks", 2, {0, 64},
             "self-attention blocks, each with its feed-forward layers; the paper's default"),
         knob::Count("heads", 2, {1, 64},
                     "attention heads, a divisor of dim; ours (the paper has 1)"),
         knob::Count(
             "length", 50, {1, 100000},
             "L, newest events of a history that are read; the paper's value for Amazon data"),
         knob::Number("dropout", 0.5, {0, 0.99},
                      "share of embedding, attention and feed-forward values that are dropped; the "
                      "paper's value for Amazon data"),
         knob::Word(
             "loss",
             {{"BCE",
               "binary cross-entropy against one sampled negative per target (paper, equation 7)"},
              {"CE", "cross-entropy over all items"}},
             "what training minimises"),
         knob::Word("form",
                    {{"ORIGINAL", "as the paper: queries alone are normalised before attention"},
                     {"POST_NORM_2025",
                      "pmixer/SASRec.pytorch of 2025 with layer norms after the sums; each user "
                      "once per epoch"},
                     {"PRE_NORM_2025",
                      "the same code with layer norms before attention and feed-forward layers"}},
                    "where layer norms stand, and how training draws users"),
         knob::Switch("mask_history", true,
                      "leave items of the user's history out of full rankings")},
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .revision = 2,  // dropout by sample
    .build = [](const BuildContext& c) { return std::make_unique<SasRecRecommender>(c); },
});

}  // namespace
}  // namespace whyrec::systems
