// lightgcn: matrix factorisation after linear propagation over the user-item graph, trained on
// pairs (He et al., SIGIR 2020; BPR: Rendle et al., UAI 2009). Shapes: U users, I items,
// M = U + I + 1 nodes as in src/graph/csr.h (node 0 stands alone), d width, n pairs of this rank.
#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include "src/base/rng.h"
#include "src/data/samplers.h"
#include "src/nn/losses.h"
#include "src/store/safetensors.h"
#include "src/systems/pairs.h"
#include "src/systems/propagation.h"
#include "src/systems/system.h"
#include "src/tensor/bridge.h"
#include "src/tensor/device.h"
#include "src/train/checkpoint.h"
#include "src/train/reducer.h"
#include "src/train/trainer.h"

namespace whyrec::systems {
namespace {

using config::TrainConfig;

const char* const kTable = "propagated.safetensors";  // Z of the trained model

class LightGcnRecommender final : public Recommender {
 public:
  explicit LightGcnRecommender(const BuildContext& context)
      : config_(context.config),
        train_(context.train),
        knobs_(context.knobs),
        parameters_(config_.train().dtype() == TrainConfig::FP64 ? at::kDouble : at::kFloat,
                    tensor::ChooseDevice(config_.execution().device())),
        graph_(
            Operator(graph::LoadCsr(store::Hdf5Reader(context.artefacts.at("graphs") / "graph.h5"),
                                    "interactions"),
                     true)) {
    const int64_t nodes = train_.user_count() + train_.item_count() + 1;
    parameters_.Add("nodes", {nodes, knobs_.Count("dim")});  // Z^0 = [0; Q; E]
  }

  data::Facts Train(TrainContext& context) override;

  void Load(const std::filesystem::path& folder) override {
    table_ =
        tensor::View(store::ReadSafetensors(folder / kTable).at("nodes")).to(parameters_.device());
  }

  std::vector<Prediction> Predict(Task, const std::vector<Query>& queries) override {
    std::vector<int64_t> users;
    for (const Query& query : queries) users.push_back(query.user);
    return FromScores(queries, tensor::ToHost(Scores(table_, users)));
  }

  const config::Knobs& knobs() const { return knobs_; }
  void Initialise() {
    nn::FillNormal(parameters_.Get("nodes"), "nodes", config_.seed(), knobs_.Number("init"));
  }

  // Z = mean over k = 0..K of A^k Z^0, [M, d].
  at::Tensor Propagate() const {
    return nn::LayerMean(graph_, parameters_.Get("nodes"), knobs_.Count("layers"));
  }

  // Row numbers as node rows on the device of the tables, i64 [n].
  at::Tensor UserNodes(const std::vector<int64_t>& users) const { return Nodes(users, 1); }
  at::Tensor ItemNodes(const std::vector<int64_t>& items) const {
    return Nodes(items, train_.user_count() + 1);
  }

  // Z_u . Z_i of every item, F64 [users, I] on the host.
  at::Tensor Scores(const at::Tensor& table, const std::vector<int64_t>& users) const {
    const at::Tensor items = table.narrow(0, train_.user_count() + 1, train_.item_count());
    return at::mm(table.index_select(0, UserNodes(users)), items.t()).to(at::kDouble).cpu();
  }

  const config::RunConfig& config_;
  const data::TrainView& train_;
  const config::Knobs knobs_;
  nn::Parameters parameters_;
  nn::SparseOperator graph_;

 private:
  at::Tensor Nodes(const std::vector<int64_t>& rows, int64_t first) const {
    return (at::tensor(rows, at::kLong) + first).to(parameters_.device());
  }
  std::string Refit(TrainContext& context, int64_t steps);

  at::Tensor table_;
};

// The recommender as the training loop sees it.
class LightGcnTraining final : public train::Trainable {
 public:
  // `refit`: validation items are among the positives, so there is nothing to stop by.
  LightGcnTraining(LightGcnRecommender& system, TrainContext& context,
                   const store::Ragged<int64_t>& positives, bool refit)
      : system_(system),
        config_(system.config_),
        context_(context),
        positives_(positives),
        source_(positives, context.negative_exclusion, system.train_.item_count(), config_.seed()),
        refit_(refit) {}

  nn::Parameters& parameters() override { return system_.parameters_; }

  // As many pairs as there are edges.
  int64_t steps_per_epoch() const override {
    const int64_t given = config_.train().epoch_steps(), size = config_.train().global_batch();
    return given > 0 ? given : (std::ssize(positives_.values) + size - 1) / size;
  }

  // (1/B) sum over the batch of softplus(s- - s+) + l2/2 |Z^0_u, Z^0_+, Z^0_-|^2. Every rank
  // propagates the whole table and takes its slice of the B pairs.
  train::StepLoss Loss(int64_t step) override {
    const int64_t size = config_.train().global_batch(), first = step * size;
    const cluster::Communicator& comm = context_.comm;
    const Pairs pairs = source_.Draw(first + size * comm.rank() / comm.size(),
                                     first + size * (comm.rank() + 1) / comm.size());
    const at::Tensor start = system_.parameters_.Get("nodes"), nodes = system_.Propagate();
    const at::Tensor users = system_.UserNodes(pairs.users);
    const at::Tensor liked = system_.ItemNodes(pairs.positives);
    const at::Tensor other = system_.ItemNodes(pairs.negatives);
    const at::Tensor z = nodes.index_select(0, users);
    const at::Tensor bpr = nn::BprLossSum((z * nodes.index_select(0, liked)).sum(1),
                                          (z * nodes.index_select(0, other)).sum(1));
    at::Tensor squares;
    for (const at::Tensor& rows : {users, liked, other}) {
      const at::Tensor square = start.index_select(0, rows).square().sum();
      squares = squares.defined() ? squares + square : square;
    }
    return {.own = (bpr + squares * (system_.knobs().Number("l2") / 2)) / static_cast<double>(size),
            .shared = {},
            .task = "BPR"};
  }

  train::Validation Validate(int64_t step) override {
    c10::NoGradGuard no_grad;
    if (refit_) return {static_cast<double>(step), false, {}};
    const std::vector<int64_t> users = ValidationUsers(context_.labels, config_);
    const bool metric = config_.train().stop() == TrainConfig::METRIC;
    const at::Tensor table = system_.Propagate();
    double sum = 0;
    for (size_t i = context_.comm.rank(); i < users.size(); i += context_.comm.size())
      sum += metric ? Hit(table, users[i]) : PairLoss(table, users[i]);
    const double value = train::Sum(sum, context_.comm) / static_cast<double>(users.size());
    return {value, !metric, {{metric ? "sequential HR@10" : "BPR", value}}};
  }

 private:
  // Whether the validation item is among the first ten of all items but those of training.
  double Hit(const at::Tensor& table, int64_t user) const {
    const at::Tensor scores = system_.Scores(table, {user});
    std::vector<uint8_t> mask(scores.numel());
    for (int64_t item : system_.train_.histories.row(user)) mask[item] = 1;
    const auto rank = eval::RankOf({scores.const_data_ptr<double>(), mask.size()},
                                   context_.labels.Target(data::Phase::kValidation, user), mask);
    return eval::HitRate(rank, 10, eval::Ties::kPessimistic);
  }

  // The loss of the validation item and one negative, the same at every validation.
  double PairLoss(const at::Tensor& table, int64_t user) const {
    const int64_t target = context_.labels.Target(data::Phase::kValidation, user);
    std::vector<int64_t> avoided = {target};
    for (const auto& rows : {positives_.row(user), context_.negative_exclusion.row(user)})
      avoided.insert(avoided.end(), rows.begin(), rows.end());
    Rng rng(config_.seed(), "validation pairs", 0, static_cast<uint64_t>(user));
    const int64_t other = data::DrawNegatives(system_.train_.item_count(), avoided, 1, rng)[0];
    const at::Tensor scores = system_.Scores(table, {user}).squeeze(0);
    return nn::BprLossSum(scores[target], scores[other]).item<double>();
  }

  LightGcnRecommender& system_;
  const config::RunConfig& config_;
  TrainContext& context_;
  const store::Ragged<int64_t>& positives_;
  PairSource source_;
  bool refit_;
};

// AdamW's decay would shrink every row; this model's own is that of the rows of a batch.
TrainConfig WithoutDecay(TrainConfig config) {
  config.set_weight_decay(0);
  return config;
}

data::Facts LightGcnRecommender::Train(TrainContext& context) {
  if (context.comm.size() > config_.train().global_batch())
    Fail(Exit::kUsage, "train.global_batch is ", config_.train().global_batch(),
         ", fewer than the ", context.comm.size(), " ranks");
  Initialise();
  LightGcnTraining training(*this, context, train_.histories, /*refit=*/false);
  data::Facts facts =
      train::Run(training, WithoutDecay(config_.train()), context.folder, context.comm);
  std::filesystem::path best = context.folder;
  std::string edges = Cat("training items only: ", train_.histories.values.size());
  if (knobs_.On("refit")) {
    const auto steps = std::ranges::find(facts, "best step", &data::Facts::value_type::first);
    edges = Refit(context, std::stoll(steps->second));
    best = context.folder / "refit";
  }
  facts.emplace_back("edges", edges);
  if (context.comm.rank() == 0) {
    c10::NoGradGuard no_grad;
    train::LoadParameters(parameters_, best / "model.safetensors");
    store::WriteSafetensors(context.folder / kTable, {{"nodes", tensor::ToHost(Propagate())}});
  }
  return facts;
}

// From the start again, for as many steps as were best, with the validation items among the
// positives and the edges: at the test the other systems see them in the history. A run killed here
// repeats the first training, which ends the same. Returns the rule.
std::string LightGcnRecommender::Refit(TrainContext& context, int64_t steps) {
  store::Ragged<int64_t> positives;
  for (int64_t user = 0; user < train_.user_count(); ++user)
    positives.Append(context.labels.InputHistory(data::Phase::kTest, train_, user));
  graph_ = Operator(graph::InteractionGraph(positives, train_.item_count()), true);
  Initialise();
  LightGcnTraining training(*this, context, positives, /*refit=*/true);
  TrainConfig config = WithoutDecay(config_.train());
  config.set_steps(static_cast<int32_t>(steps));
  std::filesystem::create_directories(context.folder / "refit");
  train::Run(training, config, context.folder / "refit", context.comm);
  return Cat("training and validation items: ", positives.values.size(), " (refit, ", steps,
             " steps)");
}

const Registration kRegistration({
    .name = "lightgcn",
    .description = "linear propagation over training interactions, pairwise loss (He et al. 2020)",
    .knobs =
        {knob::Count("dim", 64, {1, 4096}, "d, width of the node table; the paper's value"),
         knob::Count(
             "layers", 3, {0, 16},
             "K, propagations over the graph; the paper's value; 0 is matrix factorisation"),
         knob::Number("init", 0.1, {0, 10},
                      "standard deviation of the node table at the start; the authors' code"),
         knob::Number(
             "l2", 1e-4, {0, 1},
             "weight of the squared start vectors of a batch's nodes, per pair; the paper's value"),
         knob::Switch("refit", false,
                      "train again from the start with validation items included, for the number "
                      "of steps that validated best; ours"),
         knob::Switch("mask_history", true,
                      "leave items of the user's history out of full rankings")},
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .needs = [](const auto&, const auto&) { return System::Names{"graphs"}; },
    .build = [](const BuildContext& c) { return std::make_unique<LightGcnRecommender>(c); },
});

}  // namespace
}  // namespace whyrec::systems
