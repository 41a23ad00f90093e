// sasrec: self-attention over a user's items (Kang & McAuley, ICDM 2018) as A-LLMRec and PULSE's
// public code train it. The network is in sasrec_network.cc. That code's own test reads a [1, 11]
// array of scores as if it had one dimension and so finds every target first; ours ranks on the
// candidates that all systems get. Shapes: B sequences of N events in all, n targets, d width.
#include "src/systems/sasrec.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/matmul.h>

#include "src/nn/ranking_losses.h"
#include "src/systems/system.h"

namespace whyrec::systems {

using ranking::Examples;
using ranking::Range;

SasRec::SasRec(const SasRecConfig& config, Loss loss, at::ScalarType dtype, at::Device device)
    : loss_(loss), parameters_(dtype, device), network_(config, parameters_) {}

// The sum over the targets of -log s(h . e+) - log(1 - s(h . e-)), s the sigmoid (Kang & McAuley,
// section III-E); with kCrossEntropy of -log softmax(h . E)[+] over all items.
at::Tensor SasRec::LossSum(const Examples& examples, const nn::Draws& draws) {
  SasRecBatch batch;
  std::vector<int64_t> events;  // [n] of the batch, those with a target
  for (int64_t b = 0; b < examples.size(); ++b) {
    network_.Append(examples.inputs.row(b), /*padded=*/true, batch);
    const auto targets = std::ssize(examples.positives.row(b));
    for (int64_t i = 0; i < targets; ++i) events.push_back(batch.events() - targets + i);
  }
  const int64_t inputs = batch.events(), targets = std::ssize(events);
  std::vector<int64_t> rows = batch.rows;
  if (loss_ == Loss::kBce)
    for (const auto* items : {&examples.positives.values, &examples.negatives})
      for (const int64_t item : *items) rows.push_back(item + 1);
  const at::Tensor all = network_.Rows(network_.Indices(rows));  // one gradient of the table
  at::Tensor h = network_.States(all.narrow(0, 0, inputs), batch, draws);  // [N, d]
  if (inputs != targets) h = at::embedding(h, network_.Indices(events));   // [n, d]
  if (loss_ == Loss::kCrossEntropy)
    return nn::ItemCrossEntropySum(network_.ItemScores(h),
                                   network_.Indices(examples.positives.values));
  const auto scores = [&](int64_t first) { return (h * all.narrow(0, first, targets)).sum(1); };
  return -(at::log_sigmoid(scores(inputs)) + at::log_sigmoid(-scores(inputs + targets))).sum();
}

// h_T . e_i.
at::Tensor SasRec::Scores(std::span<const Query> queries, Range items) {
  const at::Tensor rows =
      parameters_.Get("item_emb.weight").narrow(0, 1 + items.begin, items.size());
  return at::matmul(States(queries, true), rows.t());
}

at::Tensor SasRec::UserVectors(std::span<const Query> queries, bool padded) {
  return States(queries, padded);
}

at::Tensor SasRec::States(std::span<const Query> queries, bool padded) const {
  SasRecBatch batch;
  for (const Query& query : queries) network_.Append(query.history, padded, batch);
  return network_.LastStates(batch);
}

namespace {

using Form = SasRecConfig::Form;

std::unique_ptr<Recommender> Build(const BuildContext& context) {
  const config::Knobs& knobs = context.knobs;
  const std::string& form = knobs.Word("form");
  const SasRecConfig network{.items = context.train.item_count(),
                             .dim = knobs.Count("dim"),
                             .blocks = knobs.Count("blocks"),
                             .heads = knobs.Count("heads"),
                             .length = knobs.Count("length"),
                             .dropout = knobs.Number("dropout"),
                             .form = form == "ORIGINAL"         ? Form::kOriginal
                                     : form == "POST_NORM_2025" ? Form::kPostNorm2025
                                                                : Form::kPreNorm2025};
  const auto loss = knobs.Word("loss") == "CE" ? ranking::Scorer::Loss::kCrossEntropy
                                               : ranking::Scorer::Loss::kBce;
  auto scorer =
      std::make_unique<SasRec>(network, loss, ranking::TypeOf(context), ranking::DeviceOf(context));
  // The public code draws users with replacement; that of 2025 takes each once an epoch.
  return ranking::MakeSequential(context, std::move(scorer),
                                 {.name = "sasrec",
                                  .seed = context.config.seed(),
                                  .length = network.length,
                                  .every_user = network.form != Form::kOriginal},
                                 ranking::NextItem);
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
    .ignores = ranking::IgnoredTraining(),
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .revision = 2,  // dropout by sample
    .roles = {Role::kNeighbours, Role::kHardCandidates},
    .build = Build,
});

}  // namespace
}  // namespace whyrec::systems
