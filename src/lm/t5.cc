#include "src/lm/t5.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

// Added to scores that must not count: exp of it is zero, and a row of nothing else stays finite.
constexpr double kMasked = -1e9;

}  // namespace

int64_t T5Bucket(int64_t distance, bool bidirectional, int64_t buckets, int64_t max_distance) {
  int64_t first = 0;
  if (bidirectional) {
    buckets /= 2;
    if (distance > 0) first = buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<int64_t>(-distance, 0);
  }
  const int64_t exact = buckets / 2;  // one bucket per distance; the other half grows in logarithms
  if (distance < exact) return first + distance;
  const auto span = static_cast<float>(std::log(static_cast<double>(max_distance) / exact));
  const float share = std::log(static_cast<float>(distance) / static_cast<float>(exact)) / span;
  const auto grown = exact + static_cast<int64_t>(share * static_cast<float>(buckets - exact));
  return first + std::min(grown, buckets - 1);
}

T5::T5(const T5Config& config, nn::Parameters& parameters, const std::string& prefix)
    : config_(config), parameters_(&parameters), prefix_(prefix) {
  shared_ = parameters.Add(prefix + "shared.weight", {config.vocabulary, config.d_model});
  encoder_ = AddStack("encoder", config.encoder_layers, false);
  decoder_ = AddStack("decoder", config.decoder_layers, true);
}

T5::Stack T5::AddStack(const std::string& name, int64_t layers, bool decoder) {
  const int64_t d = config_.d_model;
  Stack stack;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string block = Cat(prefix_, name, ".block.", i, ".layer.");
    Block b;
    b.self = AddAttention(block + "0.", "SelfAttention.");
    if (i == 0) {
      stack.position_bias =
          parameters_->Add(block + "0.SelfAttention.relative_attention_bias.weight",
                           {config_.buckets, config_.heads});
    }
    if (decoder) b.cross = AddAttention(block + "1.", "EncDecAttention.");
    const std::string last = block + (decoder ? "2." : "1.");
    b.norm = parameters_->Add(last + "layer_norm.weight", {d});
    b.wi = parameters_->Add(last + "DenseReluDense.wi.weight", {config_.d_ff, d});
    b.wo = parameters_->Add(last + "DenseReluDense.wo.weight", {d, config_.d_ff});
    stack.blocks.push_back(b);
  }
  stack.norm = parameters_->Add(prefix_ + name + ".final_layer_norm.weight", {d});
  return stack;
}

T5::Attention T5::AddAttention(const std::string& layer, const std::string& name) {
  const int64_t d = config_.d_model, inner = config_.heads * config_.d_kv;
  const auto add = [&](const char* part, at::IntArrayRef shape) {
    return parameters_->Add(layer + name + part + ".weight", shape);
  };
  return {parameters_->Add(layer + "layer_norm.weight", {d}), add("q", {inner, d}),
          add("k", {inner, d}), add("v", {inner, d}), add("o", {d, inner})};
}

at::Tensor T5::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  return at::rms_norm(x, {config_.d_model}, weight, config_.epsilon);  // half types: inside in fp32
}

at::Tensor T5::Dropout(const at::Tensor& x, bool training) const {
  return at::dropout(x, config_.dropout, training);
}

// x [B,T,d] -> [B,H,T,dk]
at::Tensor T5::Heads(const at::Tensor& x, const at::Tensor& weight) const {
  return at::linear(x, weight).unflatten(-1, {config_.heads, config_.d_kv}).transpose(1, 2);
}

// x [B,T,d] plus what its (normed) queries read from keys and values [B,H,S,dk]. Scores are not
// scaled by 1/sqrt(dk): T5's initialisation accounts for it.
at::Tensor T5::Attend(const at::Tensor& x, const Attention& a, const at::Tensor& keys,
                      const at::Tensor& values, const at::Tensor& bias, bool training) const {
  const at::Tensor scores = at::matmul(Heads(Norm(x, a.norm), a.q), keys.transpose(2, 3));
  if (bias.defined()) scores.add_(bias);
  const at::Tensor weights = Dropout(at::softmax(scores, -1), training);
  const at::Tensor read = at::matmul(weights, values).transpose(1, 2).flatten(2);
  return x + Dropout(at::linear(read, a.o), training);
}

at::Tensor T5::FeedForward(const at::Tensor& x, const Block& block, bool training) const {
  const at::Tensor hidden = at::relu(at::linear(Norm(x, block.norm), block.wi));
  return x + Dropout(at::linear(Dropout(hidden, training), block.wo), training);
}

// [1,H,queries,keys] for queries at positions first_query.. and keys at 0..; in the decoder the
// future is masked. All entries of a diagonal are equal, so one row of distances is looked up and
// unfolded.
at::Tensor T5::PositionBias(const Stack& stack, int64_t first_query, int64_t queries,
                            int64_t keys) const {
  const bool decoder = &stack == &decoder_;
  const int64_t lowest = -(first_query + queries - 1), count = queries + keys - 1;
  std::vector<int64_t> buckets(static_cast<size_t>(count));
  std::vector<double> future(buckets.size(), 0.0);
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    buckets[at] = T5Bucket(lowest + i, !decoder, config_.buckets, config_.max_distance);
    if (decoder && lowest + i > 0) future[at] = kMasked;
  }
  at::Tensor row = at::embedding(stack.position_bias, at::tensor(buckets).to(shared_.device())).t();
  if (decoder) row = row + at::tensor(future).to(shared_.options());
  return at::flip(row.unfold(1, keys, 1), {1}).unsqueeze(0);
}

// bool [B,S] -> [B,1,1,S]
at::Tensor T5::MaskBias(const at::Tensor& allowed) const {
  return allowed.logical_not().to(shared_.scalar_type()).mul_(kMasked).unsqueeze(1).unsqueeze(1);
}

at::Tensor T5::Head(const at::Tensor& hidden, const at::Tensor& rows, bool training) const {
  const at::Tensor last = Dropout(Norm(hidden, decoder_.norm), training);
  return at::linear(last * std::pow(static_cast<double>(config_.d_model), -0.5), rows);
}

at::Tensor T5::Embed(const at::Tensor& ids) const { return at::embedding(shared_, ids); }

at::Tensor T5::Encode(const at::Tensor& embeddings, const at::Tensor& mask, bool training) const {
  const int64_t length = embeddings.size(1);
  const at::Tensor bias = PositionBias(encoder_, 0, length, length) + MaskBias(mask);
  at::Tensor x = Dropout(embeddings, training);
  for (const Block& block : encoder_.blocks) {
    const at::Tensor normed = Norm(x, block.self.norm);
    x = Attend(x, block.self, Heads(normed, block.self.k), Heads(normed, block.self.v), bias,
               training);
    x = FeedForward(x, block, training);
  }
  return Dropout(Norm(x, encoder_.norm), training);
}

at::Tensor T5::Decode(const at::Tensor& inputs, const at::Tensor& memory,
                      const std::optional<at::Tensor>& memory_mask, bool training) const {
  const at::Tensor bias = PositionBias(decoder_, 0, inputs.size(1), inputs.size(1));
  const at::Tensor cross_bias = memory_mask ? MaskBias(*memory_mask) : at::Tensor();
  at::Tensor x = Dropout(Embed(inputs), training);
  for (const Block& block : decoder_.blocks) {
    const at::Tensor normed = Norm(x, block.self.norm);
    x = Attend(x, block.self, Heads(normed, block.self.k), Heads(normed, block.self.v), bias,
               training);
    x = Attend(x, block.cross, Heads(memory, block.cross.k), Heads(memory, block.cross.v),
               cross_bias, training);
    x = FeedForward(x, block, training);
  }
  return Head(x, shared_, training);
}

T5::Cache T5::Start(const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
                    int64_t beams) const {
  const c10::NoGradGuard no_grad;
  Cache cache;
  cache.beams = beams;
  cache.memory_mask = memory_mask;
  for (const Block& block : decoder_.blocks) {
    cache.cross_keys.push_back(Heads(memory, block.cross.k).contiguous());
    cache.cross_values.push_back(Heads(memory, block.cross.v).contiguous());
    const at::Tensor none =
        at::zeros({memory.size(0) * beams, config_.heads, 0, config_.d_kv}, memory.options());
    cache.keys.push_back(none);
    cache.values.push_back(none);
  }
  return cache;
}

at::Tensor T5::Step(Cache& cache, const at::Tensor& tokens, const at::Tensor& origin) const {
  const c10::NoGradGuard no_grad;
  const auto extend = [&](at::Tensor& past, const at::Tensor& now) {
    if (cache.steps > 0) past = past.index_select(0, origin.to(past.device()));
    past = at::cat({past, now}, 2);
  };
  const at::Tensor bias = PositionBias(decoder_, cache.steps, 1, cache.steps + 1);
  const at::Tensor cross_bias = cache.memory_mask ? MaskBias(*cache.memory_mask) : at::Tensor();
  at::Tensor x = Embed(tokens.to(shared_.device())).unsqueeze(1);  // [B*beams,1,d]
  const int64_t rows = x.size(0);
  for (size_t i = 0; i < decoder_.blocks.size(); ++i) {
    const Block& block = decoder_.blocks[i];
    const at::Tensor normed = Norm(x, block.self.norm);
    extend(cache.keys[i], Heads(normed, block.self.k));
    extend(cache.values[i], Heads(normed, block.self.v));
    x = Attend(x, block.self, cache.keys[i], cache.values[i], bias, false);
    // Cross-attention knows no positions, so the beams of a user may stand as its query positions.
    x = Attend(x.view({rows / cache.beams, cache.beams, config_.d_model}), block.cross,
               cache.cross_keys[i], cache.cross_values[i], cross_bias, false);
    x = FeedForward(x.view({rows, 1, config_.d_model}), block, false);
  }
  if (cache.steps++ == 0)
    cache.head = cache.pieces.defined() ? shared_.index_select(0, cache.pieces) : shared_;
  return Head(x.squeeze(1), cache.head, false);
}

}  // namespace whyrec::lm
