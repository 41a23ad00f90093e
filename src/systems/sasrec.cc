// sasrec: self-attention over a user's items (Kang & McAuley, ICDM 2018) as A-LLMRec and PULSE's
// public code train it. The network is in sasrec_network.cc. That code's own test reads a [1, 11]
// array of scores as if it had one dimension and so finds every target first; ours ranks on the
// candidates that all systems get. Shapes: B sequences of N events in all, n targets, d width.
#include "src/systems/sasrec.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/matmul.h>

#include "src/nn/losses.h"
#include "src/systems/system.h"
#include "src/tensor/device.h"

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
    return nn::TextLoss(network_.ItemScores(h), network_.Indices(examples.positives.values), false)
        .sum;
  const auto scores = [&](int64_t first) { return (h * all.narrow(0, first, targets)).sum(1); };
  return -(at::log_sigmoid(scores(inputs)) + at::log_sigmoid(-scores(inputs + targets))).sum();
}

// h_T . e_i.
at::Tensor SasRec::Scores(std::span<const Query> queries, Range items) {
  const at::Tensor rows =
      parameters_.Get("item_emb.weight").narrow(0, 1 + items.begin, items.size());
  return at::matmul(States(queries, true), rows.t());
}

at::Tensor SasRec::UserVectors(std::span<const Query> queries) {
  return States(queries, padded_vectors_);
}

at::Tensor SasRec::States(std::span<const Query> queries, bool padded) const {
  SasRecBatch batch;
  for (const Query& query : queries) network_.Append(query.history, padded, batch);
  return network_.LastStates(batch);
}

namespace {

using Form = SasRecConfig::Form;

std::unique_ptr<Recommender> Build(const BuildContext& context) {
  const auto knob = [&](const char* name) { return context.knobs.at(name); };
  const auto count = [&](const char* name) { return static_cast<int64_t>(knob(name)); };
  constexpr Form kForms[] = {Form::kOriginal, Form::kPostNorm2025, Form::kPreNorm2025};
  const SasRecConfig network{.items = context.train.item_count(),
                             .dim = count("dim"),
                             .blocks = count("blocks"),
                             .heads = count("heads"),
                             .length = count("length"),
                             .dropout = knob("dropout"),
                             .form = kForms[count("variant_2025")]};
  const auto loss = knob("full_softmax") != 0 ? ranking::Scorer::Loss::kCrossEntropy
                                              : ranking::Scorer::Loss::kBce;
  auto scorer = std::make_unique<SasRec>(
      network, loss,
      context.config.train().dtype() == config::TrainConfig::FP64 ? at::kDouble : at::kFloat,
      tensor::ChooseDevice(context.config.execution().device()));
  if (context.config.pulse().neighbours().vector() != config::NeighboursConfig::PADDED)
    scorer->CompareUnpadded();
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
    .knobs = {{"dim", 50, 1, 4096, "d, width of items and states"},
              {"blocks", 2, 0, 64, "attention and feed-forward pairs"},
              {"heads", 2, 1, 64, "attention heads; they divide dim"},
              {"length", 50, 1, 100000, "L, newest events that are read"},
              {"dropout", 0.5, 0, 0.99, "of embeddings, attention and feed-forward maps"},
              {"full_softmax", 0, 0, 1,
               "cross-entropy over all items in place of one negative a target"},
              {"variant_2025", 0, 0, 2,
               "1: pmixer/SASRec.pytorch of 2025, norms after the sums; 2: norms before; each user "
               "once an epoch"},
              {"mask_history", 1, 0, 1, "leave items of the history out of the ranking"}},
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .revision = 2,  // dropout by sample
    .build = Build,
});

}  // namespace
}  // namespace whyrec::systems
