#include "src/lm/bert.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

// The names of a layer's parts in published files.
struct LayerNames {
  const char *root, *q, *k, *v, *out, *norm, *up, *down, *last_norm;
};
constexpr LayerNames kBertNames = {
    "encoder.layer.",       "attention.self.query",   "attention.self.key",
    "attention.self.value", "attention.output.dense", "attention.output.LayerNorm",
    "intermediate.dense",   "output.dense",           "output.LayerNorm"};
constexpr LayerNames kDistilBertNames = {
    "transformer.layer.", "attention.q_lin",   "attention.k_lin",
    "attention.v_lin",    "attention.out_lin", "sa_layer_norm",
    "ffn.lin1",           "ffn.lin2",          "output_layer_norm"};

bool IsHalf(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

}  // namespace

Bert::Bert(const BertConfig& config, nn::Parameters& parameters, const std::string& prefix,
           bool trainable, at::ScalarType compute)
    : config_(config),
      parameters_(&parameters),
      prefix_(prefix),
      trainable_(trainable),
      compute_(compute == at::ScalarType::Undefined ? parameters.dtype() : compute) {
  WR_CHECK(compute_ == parameters.dtype() || parameters.dtype() == at::kFloat,
           "products in another type need fp32 parameters");
  const int64_t d = config.width;
  words_ = Add("embeddings.word_embeddings.weight", {config.vocabulary, d}, trainable);
  positions_ = Add("embeddings.position_embeddings.weight", {config.positions, d},
                   trainable && !config.sinusoidal);
  if (config.types > 0)
    types_ = Add("embeddings.token_type_embeddings.weight", {config.types, d}, trainable);
  norm_ = AddNorm("embeddings.LayerNorm");
  for (int64_t i = 0; i < config.layers; ++i) layers_.push_back(AddLayer(i));
  if (config.head != BertConfig::Head::kNone)
    head_ = AddDense(config.head == BertConfig::Head::kMlp ? "mlp.dense" : "pooler.dense", d, d);
}

at::Tensor Bert::Add(const std::string& name, at::IntArrayRef shape, bool trainable) {
  return table_.emplace_back(name, parameters_->Add(prefix_ + name, shape, trainable)).second;
}

Bert::Affine Bert::AddDense(const std::string& name, int64_t out, int64_t in) {
  const at::Tensor weight = Add(name + ".weight", {out, in}, trainable_);
  return {weight, Add(name + ".bias", {out}, trainable_)};
}

Bert::Affine Bert::AddNorm(const std::string& name) {
  const at::Tensor weight = Add(name + ".weight", {config_.width}, trainable_);
  return {weight, Add(name + ".bias", {config_.width}, trainable_)};
}

Bert::Layer Bert::AddLayer(int64_t i) {
  const LayerNames& names =
      config_.family == BertConfig::Family::kDistilBert ? kDistilBertNames : kBertNames;
  const int64_t d = config_.width;
  const std::string root = Cat(names.root, i, ".");
  Layer layer;
  layer.q = AddDense(root + names.q, d, d);
  layer.k = AddDense(root + names.k, d, d);
  layer.v = AddDense(root + names.v, d, d);
  layer.out = AddDense(root + names.out, d, d);
  layer.norm = AddNorm(root + names.norm);
  layer.up = AddDense(root + names.up, config_.inner, d);
  layer.down = AddDense(root + names.down, d, config_.inner);
  layer.last_norm = AddNorm(root + names.last_norm);
  return layer;
}

at::Tensor Bert::Dense(const Affine& map, const at::Tensor& x) const {
  return at::linear(x.to(compute_), map.weight.to(compute_), map.bias.to(compute_));
}

at::Tensor Bert::Norm(const Affine& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {config_.width}, norm.weight, norm.bias, config_.epsilon);
}

at::Tensor Bert::Dropout(const at::Tensor& x, const nn::RowKeys& keys) const {
  return nn::Dropout(x, config_.dropout, keys);
}

nn::RowKeys Bert::DropoutKeys(const nn::Draws& draws, const TextPack& pack) const {
  if (config_.dropout == 0 && config_.attention_dropout == 0) return {};
  std::vector<nn::RowRun> texts;
  for (const TextPack::Run& run : pack.runs)
    for (int64_t i = 0; i < run.texts; ++i) texts.push_back({pack.rows[texts.size()], run.length});
  return nn::KeysOf(draws, prefix_ + "bert", texts, words_.device());
}

at::Tensor Bert::Embed(const TextPack& pack, const nn::RowKeys& keys) const {
  const at::Device device = words_.device();
  at::Tensor x = at::embedding(words_, at::tensor(pack.ids).to(device));
  if (types_.defined()) x = x + types_.select(0, 0);
  x = x +
      at::embedding(positions_, (at::tensor(pack.positions) + config_.first_position()).to(device));
  return Dropout(Norm(norm_, x), keys);
}

// q, k, v [texts, heads, length, d/heads] -> the same shape; keys [texts, length].
at::Tensor Bert::Read(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const nn::RowKeys& keys) const {
  if (!keys.defined() || config_.attention_dropout == 0)
    return at::scaled_dot_product_attention(q, k, v);
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  const at::Tensor weights = at::softmax(at::matmul(q * scale, k.transpose(2, 3)), 3);
  return at::matmul(nn::Dropout(weights, config_.attention_dropout, keys.Heads(config_.heads)), v);
}

// x [N,d] -> [N,d]: each text attends to itself, texts of one length at a time.
at::Tensor Bert::Attend(const at::Tensor& x, const Layer& layer, const TextPack& pack,
                        const nn::RowKeys& keys) const {
  const at::Tensor q = Dense(layer.q, x), k = Dense(layer.k, x), v = Dense(layer.v, x);
  std::vector<at::Tensor> read;
  for (const TextPack::Run& run : pack.runs) {
    const auto rows = [&](const at::Tensor& whole) {  // -> [texts, length, ..]
      return whole.narrow(0, run.first_token, run.texts * run.length)
          .unflatten(0, {run.texts, run.length});
    };
    const auto split = [&](const at::Tensor& whole) {  // -> [texts, heads, length, d/heads]
      return rows(whole)
          .unflatten(2, {config_.heads, config_.width / config_.heads})
          .transpose(1, 2);
    };
    read.push_back(
        Read(split(q), split(k), split(v), keys.defined() ? keys.With(rows(keys.rows())) : keys)
            .transpose(1, 2)
            .reshape({-1, config_.width}));
  }
  return Dense(layer.out, at::cat(read));
}

at::Tensor Bert::Hidden(const TextPack& pack, const nn::Draws& draws) const {
  WR_CHECK(!pack.runs.empty(), "no texts");
  WR_CHECK(pack.runs.back().length <= config_.longest(), pack.runs.back().length, " tokens of ",
           config_.longest());
  const auto [least, most] = std::minmax_element(pack.ids.begin(), pack.ids.end());
  WR_CHECK(*least >= 0 && *most < config_.vocabulary, "ids ", *least, " to ", *most, " of ",
           config_.vocabulary);
  const nn::RowKeys keys = DropoutKeys(draws, pack);
  // DistilBERT has no dropout between attention's output and the sum.
  const bool drops_read = config_.family != BertConfig::Family::kDistilBert;
  at::Tensor x = Embed(pack, keys);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const nn::RowKeys own = keys.At(static_cast<int64_t>(i));
    const at::Tensor read = Attend(x, layer, pack, own.At(0));
    x = Norm(layer.norm, x + (drops_read ? Dropout(read, own.At(1)) : read));
    const at::Tensor fed = Dense(layer.down, at::gelu(Dense(layer.up, x)));
    x = Norm(layer.last_norm, x + Dropout(fed, own.At(2)));
  }
  return x;
}

at::Tensor Bert::Pool(const at::Tensor& hidden, const TextPack& pack, Pooling pooling) const {
  WR_CHECK(pooling != Pooling::kAuto, "the folder chooses AUTO");
  WR_CHECK(pooling != Pooling::kEasyRec || head_.weight.defined(), "EASYREC without its layer");
  const auto type = IsHalf(hidden.scalar_type()) ? at::kFloat : hidden.scalar_type();
  std::vector<at::Tensor> vectors;
  for (const TextPack::Run& run : pack.runs) {
    const at::Tensor texts = hidden.narrow(0, run.first_token, run.texts * run.length)
                                 .view({run.texts, run.length, config_.width});
    vectors.push_back(pooling == Pooling::kMean ? texts.to(type).mean(1)
                                                : texts.select(1, 0).to(type));
  }
  const at::Tensor pooled = at::cat(vectors);
  if (pooling != Pooling::kEasyRec) return pooled;
  return at::tanh(at::linear(pooled, head_.weight.to(type), head_.bias.to(type)));
}

at::Tensor Bert::Forward(const std::vector<std::vector<int64_t>>& texts, Pooling pooling,
                         const nn::Draws& draws) const {
  const TextPack pack = PackTexts(texts);
  std::vector<int64_t> place(texts.size());  // of each text in the pack
  for (size_t i = 0; i < place.size(); ++i)
    place[static_cast<size_t>(pack.rows[i])] = static_cast<int64_t>(i);
  return Pool(Hidden(pack, draws), pack, pooling)
      .index_select(0, at::tensor(place).to(words_.device()));
}

at::Tensor UnitRows(const at::Tensor& x) {
  return x / at::linalg_vector_norm(x, 2, {1}, true).clamp_min(1e-12);
}

}  // namespace whyrec::lm
