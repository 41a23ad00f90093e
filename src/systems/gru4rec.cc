// gru4rec: the last state of a gated recurrent unit as the query (Hidasi et al., ICLR 2016), in
// RecBole's form: no biases in the unit, a dense layer, scores by the tied item table, and
// cross-entropy over all items for every prefix of a history. Shapes: B sequences, L events of the
// longest, d width of items, h width of states.
#include "src/systems/gru4rec.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gru.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "src/nn/ranking_losses.h"
#include "src/systems/system.h"
#include "src/tensor/device.h"

namespace whyrec::systems {

using ranking::Range;

Gru4Rec::Gru4Rec(const Gru4RecConfig& config, at::ScalarType dtype, at::Device device)
    : config_(config), parameters_(dtype, device) {
  parameters_.Add("item_embedding.weight", {config.items + 1, config.dim});  // row 0 pads
  parameters_.Add("gru_layers.weight_ih_l0", {3 * config.hidden, config.dim});
  parameters_.Add("gru_layers.weight_hh_l0", {3 * config.hidden, config.hidden});
  parameters_.Add("dense.weight", {config.dim, config.hidden});
  parameters_.Add("dense.bias", {config.dim});
}

// RecBole's: Xavier's normal for the item table, Xavier's uniform for the unit; PyTorch's for the
// dense layer.
void Gru4Rec::Initialise(uint64_t seed) {
  for (const auto& [path, parameter] : parameters_.all()) {
    const auto fans = static_cast<double>(parameter.size(0) + parameter.size(-1));
    if (path == "item_embedding.weight")
      nn::FillNormal(parameter, path, seed, std::sqrt(2 / fans));
    else if (path.starts_with("gru"))
      nn::FillUniform(parameter, path, seed, std::sqrt(6 / fans));
    else
      nn::FillUniform(parameter, path, seed, 1 / std::sqrt(static_cast<double>(config_.hidden)));
  }
  nn::Fill(parameters_.Get("item_embedding.weight").detach().select(0, 0), 0);
}

// The sum over the prefixes of -log softmax(q . E)[target].
at::Tensor Gru4Rec::LossSum(const ranking::Examples& examples, const nn::Draws& draws) {
  Histories histories;
  for (int64_t b = 0; b < examples.size(); ++b) histories.push_back(examples.inputs.row(b));
  const at::Tensor scores = at::matmul(Queries(histories, draws), Items({0, config_.items}).t());
  return nn::ItemCrossEntropySum(scores, Indices(examples.positives.values));
}

at::Tensor Gru4Rec::Scores(std::span<const Query> queries, Range items) {
  Histories histories;
  for (const Query& query : queries) histories.emplace_back(query.history);
  return at::matmul(Queries(histories, {}), Items(items).t());
}

// q = W g_n + b with g = GRU(dropout(E[s])). Padding stands behind the events, where it does not
// reach the state that is read.
at::Tensor Gru4Rec::Queries(const Histories& histories, const nn::Draws& draws) const {
  int64_t longest = 1;
  for (const auto& history : histories)
    longest = std::max(longest, std::min<int64_t>(config_.length, std::ssize(history)));
  const auto count = std::ssize(histories);
  std::vector<int64_t> rows(static_cast<size_t>(count * longest)), last;
  for (int64_t b = 0; b < count; ++b) {
    const auto& all = histories[static_cast<size_t>(b)];
    const auto own = all.last(std::min<size_t>(all.size(), static_cast<size_t>(config_.length)));
    for (size_t i = 0; i < own.size(); ++i) rows[static_cast<size_t>(b * longest) + i] = own[i] + 1;
    last.push_back(b * longest + std::max<int64_t>(std::ssize(own), 1) - 1);
  }
  const at::Device device = parameters_.device();
  const at::Tensor events =
      at::embedding(parameters_.Get("item_embedding.weight"), Indices(rows), /*padding_idx=*/0)
          .view({count, longest, config_.dim});
  const nn::RowKeys keys =
      config_.dropout == 0 ? nn::RowKeys() : nn::KeysOf(draws, "gru4rec", longest, device);
  const at::Tensor states = std::get<0>(at::gru(
      nn::Dropout(events, config_.dropout, keys),
      at::zeros({1, count, config_.hidden}, events.options()),
      {parameters_.Get("gru_layers.weight_ih_l0"), parameters_.Get("gru_layers.weight_hh_l0")},
      /*has_biases=*/false, /*num_layers=*/1, /*dropout=*/0, /*train=*/false,
      /*bidirectional=*/false, /*batch_first=*/true));  // [B, L, h]
  const at::Tensor newest =
      at::embedding(states.reshape({count * longest, config_.hidden}), Indices(last));
  return at::linear(newest, parameters_.Get("dense.weight"), parameters_.Get("dense.bias"));
}

at::Tensor Gru4Rec::Items(Range items) const {
  return parameters_.Get("item_embedding.weight").narrow(0, 1 + items.begin, items.size());
}

at::Tensor Gru4Rec::Indices(std::span<const int64_t> values) const {
  return at::tensor(at::IntArrayRef(values.data(), values.size()), at::kLong)
      .to(parameters_.device());
}

namespace {

std::unique_ptr<Recommender> Build(const BuildContext& context) {
  const config::Knobs& knobs = context.knobs;
  const Gru4RecConfig own{.items = context.train.item_count(),
                          .dim = knobs.Count("dim"),
                          .hidden = knobs.Count("hidden"),
                          .length = knobs.Count("length"),
                          .dropout = knobs.Number("dropout")};
  return ranking::MakeSequential(
      context, std::make_unique<Gru4Rec>(own, ranking::TypeOf(context), ranking::DeviceOf(context)),
      {.name = "gru4rec", .seed = context.config.seed(), .length = own.length, .negatives = 0},
      ranking::Prefix);
}

const Registration kRegistration({
    .name = "gru4rec",
    .description = "last state of a gated recurrent unit (Hidasi et al. 2016), as in RecBole",
    .knobs = {knob::Count("dim", 64, {1, 4096}, "d, width of item vectors; RecBole's default"),
              knob::Count("hidden", 128, {1, 4096}, "h, width of the states; RecBole's default"),
              knob::Count("length", 50, {1, 100000},
                          "L, newest events of a history that are read; RecBole's default"),
              knob::Number("dropout", 0.3, {0, 0.99},
                           "share of item vector values that are dropped; RecBole's default"),
              knob::Switch("mask_history", true,
                           "leave items of the user's history out of full rankings")},
    .ignores = ranking::IgnoredTraining(),
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .build = Build,
});

}  // namespace
}  // namespace whyrec::systems
