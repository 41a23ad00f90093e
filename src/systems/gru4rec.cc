// gru4rec: the last state of a gated recurrent unit as the query (Hidasi et al., ICLR 2016), in
// RecBole's form: no biases in the unit, a dense layer, scores by the tied item table, and
// cross-entropy over all items for every prefix of a history. Shapes: B sequences, L events of the
// longest, d width of items, h width of states.
#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gru.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "src/nn/losses.h"
#include "src/ranking/scorer.h"
#include "src/systems/system.h"
#include "src/tensor/device.h"

namespace whyrec::systems {
namespace {

using ranking::Range;

class Gru4Rec final : public ranking::Scorer {
 public:
  explicit Gru4Rec(const BuildContext& context)
      : items_(context.train.item_count()),
        dim_(context.knobs.Count("dim")),
        hidden_(context.knobs.Count("hidden")),
        length_(context.knobs.Count("length")),
        dropout_(context.knobs.Number("dropout")),
        parameters_(context.config.train().dtype() == config::TrainConfig::FP64 ? at::kDouble
                                                                                : at::kFloat,
                    tensor::ChooseDevice(context.config.execution().device())) {
    parameters_.Add("item_embedding.weight", {items_ + 1, dim_});  // row 0 pads
    parameters_.Add("gru_layers.weight_ih_l0", {3 * hidden_, dim_});
    parameters_.Add("gru_layers.weight_hh_l0", {3 * hidden_, hidden_});
    parameters_.Add("dense.weight", {dim_, hidden_});
    parameters_.Add("dense.bias", {dim_});
  }

  nn::Parameters& parameters() override { return parameters_; }
  Loss loss() const override { return Loss::kCrossEntropy; }

  // RecBole's: Xavier's normal for the item table, Xavier's uniform for the unit; PyTorch's for the
  // dense layer.
  void Initialise(uint64_t seed) override {
    for (const auto& [path, parameter] : parameters_.all()) {
      const auto fans = static_cast<double>(parameter.size(0) + parameter.size(-1));
      if (path == "item_embedding.weight")
        nn::FillNormal(parameter, path, seed, std::sqrt(2 / fans));
      else if (path.starts_with("gru"))
        nn::FillUniform(parameter, path, seed, std::sqrt(6 / fans));
      else
        nn::FillUniform(parameter, path, seed, 1 / std::sqrt(static_cast<double>(hidden_)));
    }
    nn::Fill(parameters_.Get("item_embedding.weight").detach().select(0, 0), 0);
  }

  // The sum over the prefixes of -log softmax(q . E)[target].
  at::Tensor LossSum(const ranking::Examples& examples, const nn::Draws& draws) override {
    std::vector<std::span<const int64_t>> histories;
    for (int64_t b = 0; b < examples.size(); ++b) histories.push_back(examples.inputs.row(b));
    const at::Tensor scores = at::matmul(Queries(histories, draws), Items({0, items_}).t());
    return nn::TextLoss(scores, Indices(examples.positives.values), false).sum;
  }

  at::Tensor Scores(std::span<const Query> queries, Range items) override {
    std::vector<std::span<const int64_t>> histories;
    for (const Query& query : queries) histories.emplace_back(query.history);
    return at::matmul(Queries(histories, {}), Items(items).t());
  }

 private:
  // q = W g_n + b with g = GRU(dropout(E[s])), [B, d]. Padding stands behind the events, where it
  // does not reach the state that is read.
  at::Tensor Queries(const std::vector<std::span<const int64_t>>& histories,
                     const nn::Draws& draws) const {
    int64_t longest = 1;
    for (const auto& history : histories)
      longest = std::max(longest, std::min(length_, std::ssize(history)));
    const auto count = std::ssize(histories);
    std::vector<int64_t> rows(static_cast<size_t>(count * longest)), last;
    for (int64_t b = 0; b < count; ++b) {
      const auto& all = histories[static_cast<size_t>(b)];
      const auto own = all.last(std::min<size_t>(all.size(), static_cast<size_t>(length_)));
      for (size_t i = 0; i < own.size(); ++i) rows[static_cast<size_t>(b * longest) + i] = own[i] + 1;
      last.push_back(b * longest + std::max<int64_t>(std::ssize(own), 1) - 1);
    }
    const at::Tensor events = at::embedding(parameters_.Get("item_embedding.weight"),
                                            Indices(rows), /*padding_idx=*/0)
                                  .view({count, longest, dim_});
    const nn::RowKeys keys = dropout_ == 0 ? nn::RowKeys()
                                           : nn::KeysOf(draws, "gru4rec", longest,
                                                        parameters_.device());
    const at::Tensor start = at::zeros({1, count, hidden_}, events.options());
    const at::Tensor states = std::get<0>(
        at::gru(nn::Dropout(events, dropout_, keys), start,
                {parameters_.Get("gru_layers.weight_ih_l0"),
                 parameters_.Get("gru_layers.weight_hh_l0")},
                /*has_biases=*/false, /*num_layers=*/1, /*dropout=*/0, /*train=*/false,
                /*bidirectional=*/false, /*batch_first=*/true));  // [B, L, h]
    const at::Tensor newest = at::embedding(states.reshape({count * longest, hidden_}), Indices(last));
    return at::linear(newest, parameters_.Get("dense.weight"), parameters_.Get("dense.bias"));
  }

  at::Tensor Items(Range items) const {
    return parameters_.Get("item_embedding.weight").narrow(0, 1 + items.begin, items.size());
  }
  at::Tensor Indices(std::span<const int64_t> values) const {
    return at::tensor(at::IntArrayRef(values.data(), values.size()), at::kLong)
        .to(parameters_.device());
  }

  const int64_t items_, dim_, hidden_, length_;
  const double dropout_;
  nn::Parameters parameters_;
};

std::unique_ptr<Recommender> Build(const BuildContext& context) {
  return ranking::MakeSequential(context, std::make_unique<Gru4Rec>(context),
                                 {.name = "gru4rec",
                                  .seed = context.config.seed(),
                                  .length = context.knobs.Count("length"),
                                  .negatives = 0},
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
    .config_parts = {"seed", "split.negative_exclude", "train"},
    .build = Build,
});

}  // namespace
}  // namespace whyrec::systems
