#include "src/lm/t5.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

// Added to scores that must not count: exp of it is zero, and a row of nothing else stays finite.
constexpr double kMasked = -1e9;

// Places of dropout outside the blocks, which are 0, 1, ..
constexpr int64_t kInput = -2, kOutput = -3;

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
  shared_ = Add("shared.weight", {config.vocabulary, config.d_model});
  encoder_ = AddStack("encoder", config.encoder_layers, false);
  decoder_ = AddStack("decoder", config.decoder_layers, true);
  head_ = config.tied ? shared_ : Add("lm_head.weight", {config.vocabulary, config.d_model});
}

at::Tensor T5::Add(const std::string& name, at::IntArrayRef shape) {
  table_.emplace_back(name, parameters_->Add(prefix_ + name, shape));
  return table_.back().second;
}

T5::Stack T5::AddStack(const std::string& name, int64_t layers, bool decoder) {
  const int64_t d = config_.d_model;
  Stack stack;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string block = Cat(name, ".block.", i, ".layer.");
    Block b;
    b.self = AddAttention(block + "0.", "SelfAttention.");
    if (i == 0)
      stack.position_bias = Add(block + "0.SelfAttention.relative_attention_bias.weight",
                                {config_.buckets, config_.heads});
    if (decoder) b.cross = AddAttention(block + "1.", "EncDecAttention.");
    const std::string last = block + (decoder ? "2." : "1.");
    b.norm = Add(last + "layer_norm.weight", {d});
    if (config_.gated) b.gate = Add(last + "DenseReluDense.wi_0.weight", {config_.d_ff, d});
    b.wi = Add(last + (config_.gated ? "DenseReluDense.wi_1.weight" : "DenseReluDense.wi.weight"),
               {config_.d_ff, d});
    b.wo = Add(last + "DenseReluDense.wo.weight", {d, config_.d_ff});
    stack.blocks.push_back(b);
  }
  stack.norm = Add(name + ".final_layer_norm.weight", {d});
  return stack;
}

T5::Attention T5::AddAttention(const std::string& layer, const std::string& name) {
  const int64_t d = config_.d_model, inner = config_.heads * config_.d_kv;
  const auto add = [&](const char* part, at::IntArrayRef shape) {
    return Add(layer + name + part + ".weight", shape);
  };
  return {Add(layer + "layer_norm.weight", {d}), add("q", {inner, d}), add("k", {inner, d}),
          add("v", {inner, d}), add("o", {d, inner})};
}

at::Tensor T5::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  return at::rms_norm(x, {config_.d_model}, weight, config_.epsilon);  // half types: inside in fp32
}

at::Tensor T5::Dropout(const at::Tensor& x, const nn::RowKeys& keys) const {
  return nn::Dropout(x, config_.dropout, keys);
}

nn::RowKeys T5::DropoutKeys(const nn::Draws& draws, const char* stack, const at::Tensor& x) const {
  if (config_.dropout == 0) return {};
  WR_CHECK(draws.samples.empty() || std::ssize(draws.samples) == x.size(0), draws.samples.size(),
           " streams for ", x.size(0), " samples");
  return nn::KeysOf(draws, prefix_ + stack, x.size(1), x.device());
}

// What queries [B,H,T,dk] read -> [B,T,H*dk]. Scores are not scaled by 1/sqrt(dk): T5's
// initialisation accounts for it.
at::Tensor T5::Read(const at::Tensor& queries, const KeysValues& from, const at::Tensor& bias,
                    const nn::RowKeys& keys) const {
  const at::Tensor scores = at::matmul(queries, from.keys.transpose(2, 3));
  if (bias.defined()) scores.add_(bias);
  const at::Tensor weights = Dropout(at::softmax(scores, -1), keys.Heads(config_.heads));
  return at::matmul(weights, from.values).transpose(1, 2).flatten(2);
}

// x [B,T,d] plus what its (normed) positions read from each other.
at::Tensor T5::SelfAttend(const at::Tensor& x, const Attention& a, const at::Tensor& bias,
                          const nn::RowKeys& keys) const {
  const auto qkv = at::linear(Norm(x, a.norm), at::cat({a.q, a.k, a.v}))
                       .unflatten(-1, {3, config_.heads, config_.d_kv})
                       .permute({2, 0, 3, 1, 4})
                       .unbind(0);
  const at::Tensor read = Read(qkv[0], {qkv[1], qkv[2]}, bias, keys.At(0));
  return x + Dropout(at::linear(read, a.o), keys.At(1));
}

T5::KeysValues T5::CrossKeysValues(const at::Tensor& memory, const Attention& a) const {
  const auto both = at::linear(memory, at::cat({a.k, a.v}))
                        .unflatten(-1, {2, config_.heads, config_.d_kv})
                        .permute({2, 0, 3, 1, 4})
                        .unbind(0);
  return {both[0], both[1]};
}

// x [B,T,d] plus what its (normed) positions read from the memory.
at::Tensor T5::CrossAttend(const at::Tensor& x, const Attention& a, const KeysValues& memory,
                           const at::Tensor& bias, const nn::RowKeys& keys) const {
  const at::Tensor queries =
      at::linear(Norm(x, a.norm), a.q).unflatten(-1, {config_.heads, config_.d_kv}).transpose(1, 2);
  const at::Tensor read = Read(queries, memory, bias, keys.At(0));
  return x + Dropout(at::linear(read, a.o), keys.At(1));
}

at::Tensor T5::FeedForward(const at::Tensor& x, const Block& block, const nn::RowKeys& keys) const {
  const at::Tensor normed = Norm(x, block.norm), wide = at::linear(normed, block.wi);
  const at::Tensor hidden =
      config_.gated ? at::gelu(at::linear(normed, block.gate), "tanh") * wide : at::relu(wide);
  return x + Dropout(at::linear(Dropout(hidden, keys.At(0)), block.wo), keys.At(1));
}

// [1,H,length,length]; in the decoder the future is masked. All entries of a diagonal are equal, so
// one row of distances is looked up and unfolded.
at::Tensor T5::PositionBias(const Stack& stack, int64_t length) const {
  const bool decoder = &stack == &decoder_;
  const int64_t lowest = 1 - length, count = 2 * length - 1;
  std::vector<int64_t> buckets(static_cast<size_t>(count));
  std::vector<double> future(buckets.size(), 0.0);
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    buckets[at] = T5Bucket(lowest + i, !decoder, config_.buckets, config_.max_distance);
    if (decoder && lowest + i > 0) future[at] = kMasked;
  }
  at::Tensor row = at::embedding(stack.position_bias, at::tensor(buckets).to(shared_.device())).t();
  if (decoder) row = row + at::tensor(future).to(shared_.options());
  return at::flip(row.unfold(1, length, 1), {1}).unsqueeze(0);
}

// [H,steps]: the newest of `steps` positions reads all of them.
at::Tensor T5::StepBias(int64_t steps) const {
  std::vector<int64_t> buckets;
  for (int64_t distance = 1 - steps; distance <= 0; ++distance)
    buckets.push_back(T5Bucket(distance, false, config_.buckets, config_.max_distance));
  return at::embedding(decoder_.position_bias, at::tensor(buckets).to(shared_.device()))
      .t()
      .contiguous();
}

// [B,H,nodes,nodes]: a node reads itself and its ancestors, whose distance is that of their depths.
at::Tensor T5::TreeBias(std::span<const TokenTree> trees, int64_t nodes) const {
  const auto width = static_cast<size_t>(nodes);
  std::vector<int64_t> rows(trees.size() * width * width, config_.buckets);  // the row of kMasked
  for (size_t b = 0; b < trees.size(); ++b) {
    for (size_t n = 0; n < trees[b].parents.size(); ++n) {
      int64_t distance = 0;
      for (auto m = static_cast<int64_t>(n); m >= 0; m = trees[b].parents[static_cast<size_t>(m)])
        rows[(b * width + n) * width + static_cast<size_t>(m)] =
            T5Bucket(-distance++, false, config_.buckets, config_.max_distance);
    }
  }
  const at::Tensor masked = at::full({1, config_.heads}, kMasked, shared_.options());
  return at::embedding(at::cat({decoder_.position_bias, masked}),
                       at::tensor(rows).to(shared_.device()))
      .view({static_cast<int64_t>(trees.size()), nodes, nodes, config_.heads})
      .permute({0, 3, 1, 2});
}

// bool [B,S] -> [B,1,1,S]
at::Tensor T5::MaskBias(const at::Tensor& allowed) const {
  return allowed.logical_not().to(shared_.scalar_type()).mul_(kMasked).unsqueeze(1).unsqueeze(1);
}

at::Tensor T5::HeadRows(const at::Tensor& pieces) const {
  return pieces.defined() ? head_.index_select(0, pieces.to(head_.device())) : head_;
}

at::Tensor T5::Head(const at::Tensor& hidden, const at::Tensor& rows,
                    const nn::RowKeys& keys) const {
  const at::Tensor last = Dropout(Norm(hidden, decoder_.norm), keys);
  const double scale =
      config_.scaled_head ? std::pow(static_cast<double>(config_.d_model), -0.5) : 1.0;
  return at::linear(config_.scaled_head ? last * scale : last, rows);
}

at::Tensor T5::Embed(const at::Tensor& ids) const { return at::embedding(shared_, ids); }

at::Tensor T5::Encode(const at::Tensor& embeddings, const at::Tensor& mask,
                      const nn::Draws& draws) const {
  const nn::RowKeys keys = DropoutKeys(draws, "encoder", embeddings);
  const at::Tensor bias = PositionBias(encoder_, embeddings.size(1)) + MaskBias(mask);
  at::Tensor x = Dropout(embeddings, keys.At(kInput));
  for (size_t i = 0; i < encoder_.blocks.size(); ++i) {
    const nn::RowKeys own = keys.At(static_cast<int64_t>(i));
    x = SelfAttend(x, encoder_.blocks[i].self, bias, own.At(0));
    x = FeedForward(x, encoder_.blocks[i], own.At(1));
  }
  return Dropout(Norm(x, encoder_.norm), keys.At(kOutput));
}

at::Tensor T5::RunDecoder(const at::Tensor& inputs, const at::Tensor& bias,
                          const at::Tensor& memory, const at::Tensor& cross_bias,
                          const nn::RowKeys& keys) const {
  at::Tensor x = Dropout(Embed(inputs), keys.At(kInput));
  for (size_t i = 0; i < decoder_.blocks.size(); ++i) {
    const Block& block = decoder_.blocks[i];
    const nn::RowKeys own = keys.At(static_cast<int64_t>(i));
    x = SelfAttend(x, block.self, bias, own.At(0));
    x = CrossAttend(x, block.cross, CrossKeysValues(memory, block.cross), cross_bias, own.At(1));
    x = FeedForward(x, block, own.At(2));
  }
  return x;
}

at::Tensor T5::Decode(const at::Tensor& inputs, const at::Tensor& memory,
                      const std::optional<at::Tensor>& memory_mask, const nn::Draws& draws) const {
  const nn::RowKeys keys = DropoutKeys(draws, "decoder", inputs);
  const at::Tensor cross_bias = memory_mask ? MaskBias(*memory_mask) : at::Tensor();
  const at::Tensor bias = PositionBias(decoder_, inputs.size(1));
  return Head(RunDecoder(inputs, bias, memory, cross_bias, keys), head_, keys.At(kOutput));
}

}  // namespace whyrec::lm
