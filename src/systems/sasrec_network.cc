#include "src/systems/sasrec_network.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "src/base/error.h"

namespace whyrec::systems {
namespace {

using Form = SasRecConfig::Form;

std::string Of(const char* layers, int64_t block, const char* rest = "") {
  return Cat(layers, ".", block, rest);
}

}  // namespace

// Sequences of similar length, whose attention is one product: each has its events first, then
// its last one again up to the longest, which the causal mask hides from all that count.
struct SasRecNetwork::LengthGroup {
  int64_t sequences, width;  // b, t
  at::Tensor events;         // i64 [b * t], of N
  at::Tensor mask;           // [b, 1, t, 1 + t]: log p, then 0 for what is seen
  at::Tensor pads;           // p as [b, 1, 1], fp32
  int64_t most_pads;
};

SasRecNetwork::SasRecNetwork(const SasRecConfig& config, nn::Parameters& parameters)
    : config_(config), parameters_(parameters) {
  const int64_t d = config.dim;
  if (d % config.heads != 0)
    Fail(Exit::kUsage, "sasrec: ", config.heads, " heads do not divide a width of ", d);
  const auto norm = [&](const std::string& name) {
    parameters_.Add(name + ".weight", {d});
    parameters_.Add(name + ".bias", {d});
  };
  parameters_.Add("item_emb.weight", {config.items + 1, d});
  parameters_.Add("pos_emb.weight", {config.length + (config.form != Form::kOriginal), d});
  for (int64_t i = 0; i < config.blocks; ++i) {
    norm(Of("attention_layernorms", i));
    parameters_.Add(Of("attention_layers", i, ".in_proj_weight"), {3 * d, d});
    parameters_.Add(Of("attention_layers", i, ".in_proj_bias"), {3 * d});
    parameters_.Add(Of("attention_layers", i, ".out_proj.weight"), {d, d});
    parameters_.Add(Of("attention_layers", i, ".out_proj.bias"), {d});
    norm(Of("forward_layernorms", i));
    for (const char* map : {".conv1", ".conv2"}) {
      parameters_.Add(Of("forward_layers", i, map) + ".weight", {d, d, 1});
      parameters_.Add(Of("forward_layers", i, map) + ".bias", {d});
    }
  }
  norm("last_layernorm");
}

void SasRecNetwork::Initialise(uint64_t seed) {
  for (const auto& [path, parameter] : parameters_.all()) {
    if (parameter.dim() >= 2) {
      const auto fans = static_cast<double>(parameter.size(0) + parameter.size(1));
      nn::FillNormal(parameter, path, seed, std::sqrt(2 / fans));
    } else if (path.find("conv") != std::string::npos) {  // the convolutions' own default
      nn::FillUniform(parameter, path, seed, 1 / std::sqrt(static_cast<double>(config_.dim)));
    } else {
      nn::Fill(parameter, path.find("layernorm") != std::string::npos && path.ends_with(".weight"));
    }
  }
  if (config_.form == Form::kOriginal) return;
  for (const char* table : {"item_emb.weight", "pos_emb.weight"})
    nn::Fill(parameters_.Get(table).detach().select(0, 0), 0);
}

void SasRecNetwork::Append(std::span<const int64_t> items, bool padded, SasRecBatch& batch) const {
  WR_CHECK(!items.empty(), "a history is empty");
  const bool original = config_.form == Form::kOriginal;
  items = items.last(std::min<size_t>(items.size(), config_.length));
  const auto count = static_cast<int64_t>(items.size());
  const int64_t pads = padded ? config_.length - count : 0;
  const int64_t living = original ? 0 : pads;  // padded slots that are computed
  batch.sequences.push_back({batch.events(), living + count, pads - living});
  batch.rows.insert(batch.rows.end(), living, 0);
  batch.slots.insert(batch.slots.end(), living, 0);
  for (int64_t i = 0; i < count; ++i) {
    batch.rows.push_back(items[i] + 1);
    batch.slots.push_back(pads + i + (original ? 0 : 1));
  }
}

at::Tensor SasRecNetwork::Indices(std::span<const int64_t> values) const {
  return at::tensor(at::IntArrayRef(values.data(), values.size()), at::kLong)
      .to(parameters_.device());
}

at::Tensor SasRecNetwork::Rows(const at::Tensor& rows) const {
  return at::embedding(parameters_.Get("item_emb.weight"), rows, /*padding_idx=*/0);
}

at::Tensor SasRecNetwork::Linear(const at::Tensor& x, const std::string& weight,
                                 const std::string& bias) const {
  return at::linear(x, parameters_.Get(weight).flatten(1), parameters_.Get(bias));
}

at::Tensor SasRecNetwork::Norm(const at::Tensor& x, const std::string& name) const {
  return at::layer_norm(x, {config_.dim}, parameters_.Get(name + ".weight"),
                        parameters_.Get(name + ".bias"), 1e-8);
}

at::Tensor SasRecNetwork::Dropout(const at::Tensor& x, const nn::RowKeys& keys) const {
  return nn::Dropout(x, config_.dropout, keys);
}

// Longest first; a group ends where a sequence would fill less than half of it. places [N]: of the
// events among the groups' rows.
std::vector<SasRecNetwork::LengthGroup> SasRecNetwork::Groups(const SasRecBatch& batch,
                                                              std::vector<int64_t>& places) const {
  constexpr int64_t kShort = 8;  // not worth a group of their own
  std::vector<size_t> order(batch.sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(),
                           [&](size_t b) { return batch.sequences[b].count; });
  std::vector<LengthGroup> groups;
  places.resize(batch.rows.size());
  int64_t place = 0;
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    const int64_t width = batch.sequences[order[begin]].count;
    std::vector<int64_t> events;
    std::vector<float> pads;
    for (; end < order.size(); ++end) {
      const auto& sequence = batch.sequences[order[end]];
      if (width > kShort && sequence.count <= width / 2) break;
      for (int64_t i = 0; i < width; ++i, ++place) {
        events.push_back(sequence.first + std::min(i, sequence.count - 1));
        if (i < sequence.count) places[events.back()] = place;
      }
      pads.push_back(static_cast<float>(sequence.pads));
    }
    const auto size = static_cast<int64_t>(end - begin);
    const auto options = at::TensorOptions().device(parameters_.device());
    const at::Tensor count = at::tensor(pads).to(parameters_.device()).view({size, 1, 1});
    const at::Tensor own = at::arange(width, options.dtype(at::kLong));
    const at::Tensor later = own.unsqueeze(0).gt(own.unsqueeze(1)).to(parameters_.dtype());
    // log 0 hides the key of padding where there is none.
    const at::Tensor first = count.to(parameters_.dtype()).log().unsqueeze(3);
    const at::Tensor rest =
        later.masked_fill(later.ne(0), -std::numeric_limits<double>::infinity());
    groups.push_back(
        {size, width, Indices(events),
         at::cat({first.expand({size, 1, width, 1}), rest.expand({size, 1, width, width})}, 3),
         count, static_cast<int64_t>(*std::ranges::max_element(pads))});
  }
  return groups;
}

// What dropout multiplies the weights [b, H, t, 1 + t] by: every padded slot is dropped by itself,
// so their common weight has the mean over the slots.
at::Tensor SasRecNetwork::KeptWeights(const at::Tensor& weights, const LengthGroup& group,
                                      const nn::RowKeys& keys) const {
  constexpr int64_t kSlots = 64;  // at a time
  const int64_t b = group.sequences, t = group.width, heads = config_.heads;
  const nn::RowKeys rows =
      keys.With(keys.rows().index_select(0, group.events).view({b, t})).Heads(heads);
  const at::Tensor kept = Dropout(at::ones_like(weights, weights.options()), rows.At(0));
  const at::Tensor pads = group.pads.unsqueeze(3);  // [b, 1, 1, 1]
  at::Tensor sum = at::zeros({b, heads, t}, weights.options());
  for (int64_t first = 0; first < group.most_pads; first += kSlots) {
    const int64_t slots = std::min(kSlots, group.most_pads - first);
    const at::Tensor inside = at::arange(first, first + slots, pads.options()).lt(pads);
    const at::Tensor each =
        Dropout(at::ones({b, heads, t, slots}, weights.options()), rows.At(1 + first));
    sum.add_((each * inside).sum(3));
  }
  kept.select(3, 0).copy_(sum / group.pads.clamp_min(1));
  return kept;
}

// q [N, d], kv [N, 2d], pad [2d], keys [N] -> [b * t, d].
at::Tensor SasRecNetwork::OfGroup(const at::Tensor& q, const at::Tensor& kv, const at::Tensor& pad,
                                  const LengthGroup& group, const nn::RowKeys& keys) const {
  const int64_t b = group.sequences, t = group.width, heads = config_.heads,
                size = config_.dim / heads;
  const at::Tensor queries =
      at::embedding(q, group.events).view({b, t, heads, size}).transpose(1, 2);  // [b, H, t, size]
  const at::Tensor own = at::embedding(kv, group.events).view({b, t, 2, heads, size});
  const at::Tensor both =  // [2, b, H, 1 + t, size]
      at::cat({pad.view({1, 1, 2, heads, size}).expand({b, 1, 2, heads, size}), own}, 1)
          .permute({2, 0, 3, 1, 4});
  const at::Tensor scores = at::matmul(queries * (1 / std::sqrt(static_cast<double>(size))),
                                       both.select(0, 0).transpose(2, 3));
  at::Tensor weights = at::softmax(scores + group.mask, 3);  // [b, H, t, 1 + t]
  if (keys.defined()) weights = weights * KeptWeights(weights, group, keys);
  return at::matmul(weights, both.select(0, 1)).transpose(1, 2).reshape({b * t, config_.dim});
}

// queries and x [N, d] -> [N, d]. `back` [N]: where the groups' results have them.
at::Tensor SasRecNetwork::Attention(const at::Tensor& queries, const at::Tensor& x, int64_t block,
                                    const std::vector<LengthGroup>& groups, const at::Tensor& back,
                                    const nn::RowKeys& keys) const {
  const int64_t d = config_.dim;
  const at::Tensor weight = parameters_.Get(Of("attention_layers", block, ".in_proj_weight"));
  const at::Tensor bias = parameters_.Get(Of("attention_layers", block, ".in_proj_bias"));
  const at::Tensor q = at::linear(queries, weight.narrow(0, 0, d), bias.narrow(0, 0, d));
  // The keys' bias shifts all scores of a query alike, so it is left out: its gradient is 0, not
  // rounding that Adam would make steps of.
  const at::Tensor pad = at::cat({at::zeros({d}, bias.options()), bias.narrow(0, 2 * d, d)});
  const at::Tensor kv = at::linear(x, weight.narrow(0, d, 2 * d), pad);  // x = 0 gives `pad`
  std::vector<at::Tensor> parts;
  for (const LengthGroup& group : groups) parts.push_back(OfGroup(q, kv, pad, group, keys));
  return Linear(at::embedding(parts.size() == 1 ? parts[0] : at::cat(parts), back),
                Of("attention_layers", block, ".out_proj.weight"),
                Of("attention_layers", block, ".out_proj.bias"));
}

at::Tensor SasRecNetwork::FeedForward(const at::Tensor& x, int64_t block,
                                      const nn::RowKeys& keys) const {
  const std::string maps = Of("forward_layers", block);
  const at::Tensor inner =
      at::relu(Dropout(Linear(x, maps + ".conv1.weight", maps + ".conv1.bias"), keys.At(0)));
  return Dropout(Linear(inner, maps + ".conv2.weight", maps + ".conv2.bias"), keys.At(1));
}

at::Tensor SasRecNetwork::States(const at::Tensor& rows, const SasRecBatch& batch,
                                 const nn::Draws& draws) const {
  std::vector<nn::RowRun> runs;
  for (const auto& sequence : batch.sequences) runs.push_back({std::ssize(runs), sequence.count});
  const nn::RowKeys keys = config_.dropout == 0
                               ? nn::RowKeys()
                               : nn::KeysOf(draws, "sasrec", runs, parameters_.device());
  std::vector<int64_t> places;
  const std::vector<LengthGroup> groups = Groups(batch, places);
  const at::Tensor back = Indices(places);
  const bool original = config_.form == Form::kOriginal;
  const at::Tensor positions =
      at::embedding(parameters_.Get("pos_emb.weight"), Indices(batch.slots), original ? -1 : 0);
  at::Tensor x = Dropout(rows * std::sqrt(static_cast<double>(config_.dim)) + positions, keys);
  for (int64_t i = 0; i < config_.blocks; ++i) {
    const std::string first = Of("attention_layernorms", i), second = Of("forward_layernorms", i);
    const nn::RowKeys own = keys.At(i);
    const auto attention = [&](const at::Tensor& q, const at::Tensor& of) {
      return Attention(q, of, i, groups, back, own.At(0));
    };
    switch (config_.form) {
      case Form::kOriginal: {
        const at::Tensor queries = Norm(x, first);
        x = Norm(queries + attention(queries, x), second);
        x = x + FeedForward(x, i, own.At(1));
        break;
      }
      case Form::kPostNorm2025:
        x = Norm(x + attention(x, x), first);
        x = Norm(x + FeedForward(x, i, own.At(1)), second);
        break;
      case Form::kPreNorm2025: {
        const at::Tensor normal = Norm(x, first);
        x = x + attention(normal, normal);
        x = x + FeedForward(Norm(x, second), i, own.At(1));
        break;
      }
    }
  }
  return Norm(x, "last_layernorm");
}

at::Tensor SasRecNetwork::LastStates(const SasRecBatch& batch) const {
  std::vector<int64_t> last;
  for (const auto& sequence : batch.sequences) last.push_back(sequence.first + sequence.count - 1);
  return States(Rows(Indices(batch.rows)), batch, {}).index_select(0, Indices(last));
}

at::Tensor SasRecNetwork::ItemScores(const at::Tensor& states) const {
  const at::Tensor items = parameters_.Get("item_emb.weight").narrow(0, 1, config_.items);
  return at::matmul(states, items.t());
}

}  // namespace whyrec::systems
