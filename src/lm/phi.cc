#include "src/lm/phi.h"

#include <ATen/core/Reduction.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/lm/recompute.h"

namespace whyrec::lm {
namespace {

at::Tensor WideLogits(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

}  // namespace

Phi::Phi(const PhiConfig& config, nn::Parameters& parameters, const std::string& prefix,
         bool train_base)
    : config_(config), parameters_(&parameters), prefix_(prefix) {
  const int64_t d = config.width, inner = config.inner;
  const int64_t queries = config.heads * config.head_size();
  const int64_t keys = config.key_heads * config.head_size();
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    return Add(name, shape, train_base);
  };
  embed_ = add("model.embed_tokens.weight", {config.vocabulary, d});
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string path = Cat("model.layers.", i, ".");
    Layer layer;
    layer.input_norm = add(path + "input_layernorm.weight", {d});
    layer.qkv.parts = {{"q_proj", queries}, {"k_proj", keys}, {"v_proj", keys}};
    layer.gate_up.parts = {{"gate_proj", inner}, {"up_proj", inner}};
    layer.qkv.weight = add(path + "self_attn.qkv_proj.weight", {queries + 2 * keys, d});
    layer.o.weight = add(path + "self_attn.o_proj.weight", {d, queries});
    layer.post_norm = add(path + "post_attention_layernorm.weight", {d});
    layer.gate_up.weight = add(path + "mlp.gate_up_proj.weight", {2 * inner, d});
    layer.down.weight = add(path + "mlp.down_proj.weight", {d, inner});
    layers_.push_back(layer);
  }
  norm_ = add("model.norm.weight", {d});
  head_ = config.tied_head ? embed_ : add("lm_head.weight", {config.vocabulary, d});

  const auto frequencies = [&](const std::vector<double>& factors) {
    return InverseFrequencies(config.rotary(), config.rope_theta, factors).to(parameters.device());
  };
  short_frequencies_ = frequencies(config.short_factor);
  long_frequencies_ = frequencies(config.long_factor);
  if (!config.long_factor.empty())
    magnitude_ = LongRopeMagnitude(config.positions, config.original_positions);
}

at::Tensor Phi::Add(const std::string& name, at::IntArrayRef shape, bool trainable) {
  at::Tensor tensor = parameters_->Add(prefix_ + name, shape, trainable);
  table_.emplace_back(name, tensor);
  return tensor;
}

void Phi::Initialise(uint64_t seed) {
  for (const auto& [name, tensor] : table_) {
    if (name.ends_with("norm.weight"))
      nn::Fill(tensor, 1);
    else
      nn::FillNormal(tensor, prefix_ + name, seed, 0.02);
  }
}

ModuleTable Phi::modules() {
  ModuleTable all;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string path = Cat("model.layers.", i, ".");
    all.emplace_back(path + "self_attn.qkv_proj", &layers_[i].qkv);
    all.emplace_back(path + "self_attn.o_proj", &layers_[i].o);
    all.emplace_back(path + "mlp.gate_up_proj", &layers_[i].gate_up);
    all.emplace_back(path + "mlp.down_proj", &layers_[i].down);
  }
  return all;
}

// Half types are normalised in fp32 and rounded before the weight is applied, as in transformers.
at::Tensor Phi::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  return at::rms_norm(x, {config_.width}, {}, config_.epsilon) * weight;
}

at::Tensor Phi::RunLayer(size_t index, const at::Tensor& x, const Rotation& rotation,
                         const Attend& attend, const nn::RowKeys& keys) const {
  const Layer& layer = layers_[index];
  const int64_t heads = config_.heads, key_heads = config_.key_heads;
  const at::Tensor qkv = layer.qkv(Norm(x, layer.input_norm), keys.At(0))
                             .unflatten(-1, {heads + 2 * key_heads, config_.head_size()});
  const at::Tensor rotated = Rotate(qkv.narrow(1, 0, heads + key_heads), rotation);
  const at::Tensor read =
      attend(static_cast<int64_t>(index), rotated.narrow(1, 0, heads),
             rotated.narrow(1, heads, key_heads), qkv.narrow(1, heads + key_heads, key_heads));
  const at::Tensor y = x + layer.o(read.flatten(1), keys.At(1));
  const std::vector<at::Tensor> parts =
      layer.gate_up(Norm(y, layer.post_norm), keys.At(2)).chunk(2, -1);
  return y + layer.down(parts[1] * at::silu(parts[0]), keys.At(3));
}

at::Tensor Phi::Hidden(const at::Tensor& ids, const at::Tensor& positions, const Attend& attend,
                       int64_t total_length, const nn::RowKeys& keys) const {
  const bool is_long = total_length > config_.original_positions;
  const Rotation rotation =
      MakeRotation(positions, is_long ? long_frequencies_ : short_frequencies_, magnitude_,
                   embed_.scalar_type());
  at::Tensor x = at::embedding(embed_, ids.to(embed_.device()));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto run = [this, i, rotation, attend,
                      own = keys.At(static_cast<int64_t>(i))](const at::Tensor& input) {
      return RunLayer(i, input, rotation, attend, own);
    };
    x = recompute_ ? Recomputed(x, run) : run(x);
  }
  return Norm(x, norm_);
}

at::Tensor Phi::Logits(const at::Tensor& hidden) const { return at::linear(hidden, head_); }

at::Tensor Phi::TokenLogits(const at::Tensor& hidden, const at::Tensor& ids) const {
  const at::Tensor rows = head_.index_select(0, ids.to(head_.device()));
  return (WideLogits(hidden) * WideLogits(rows)).sum(-1);
}

namespace {

// A value whose gradient is known already: `value`, with d/dx of gradient . x.
at::Tensor WithGradient(const at::Tensor& value, const at::Tensor& linear) {
  return value + (linear - linear.detach()).to(value.scalar_type());
}

}  // namespace

// -log p(target) of some rows, fp32 inside.
at::Tensor Phi::RowLosses(const at::Tensor& rows, const at::Tensor& head,
                          const at::Tensor& targets) const {
  return at::cross_entropy_loss(WideLogits(at::linear(rows, head)), targets, {},
                                at::Reduction::None);
}

nn::LossSum Phi::CausalLoss(const at::Tensor& hidden, const at::Tensor& targets,
                            int64_t block) const {
  WR_CHECK(hidden.size(0) > 0 && hidden.size(0) == targets.size(0), hidden.size(0), " rows, ",
           targets.size(0), " targets");
  if (!head_.requires_grad()) return {TokenLosses(hidden, targets, block).sum(), targets.size(0)};
  const bool differentiate = c10::GradMode::is_enabled();
  const at::Tensor wanted = targets.to(hidden.device());
  const at::Tensor head = head_.detach().set_requires_grad(differentiate);
  std::vector<at::Tensor> losses, gradients;
  for (int64_t begin = 0; begin < hidden.size(0); begin += block) {
    const int64_t n = std::min(block, hidden.size(0) - begin);
    const at::Tensor rows = hidden.narrow(0, begin, n).detach().set_requires_grad(differentiate);
    const at::Tensor loss = RowLosses(rows, head, wanted.narrow(0, begin, n)).sum();
    if (differentiate) {  // the gradient now, so that this block's logits can go
      loss.backward();
      gradients.push_back(rows.grad());
    }
    losses.push_back(loss.detach());
  }
  const at::Tensor sum = at::stack(losses).sum();
  if (!differentiate) return {sum, targets.size(0)};
  return {WithGradient(sum, (hidden * at::cat(gradients)).sum() + (head_ * head.grad()).sum()),
          targets.size(0)};
}

at::Tensor Phi::TokenLosses(const at::Tensor& hidden, const at::Tensor& targets,
                            int64_t block) const {
  WR_CHECK(hidden.size(0) > 0 && hidden.size(0) == targets.size(0), hidden.size(0), " rows, ",
           targets.size(0), " targets");
  const at::Tensor wanted = targets.to(hidden.device());
  const bool ahead =
      c10::GradMode::is_enabled() && hidden.requires_grad() && !head_.requires_grad();
  std::vector<at::Tensor> losses, gradients;
  for (int64_t begin = 0; begin < hidden.size(0); begin += block) {
    at::Tensor rows = hidden.narrow(0, begin, std::min(block, hidden.size(0) - begin));
    if (ahead) rows = rows.detach().set_requires_grad(true);
    const at::Tensor part = RowLosses(rows, head_, wanted.narrow(0, begin, rows.size(0)));
    if (ahead) {  // a row's loss depends on that row alone: the gradients of all rows at once
      part.sum().backward();
      gradients.push_back(rows.grad());
    }
    losses.push_back(ahead ? part.detach() : part);
  }
  const at::Tensor all = at::cat(losses);
  return ahead ? WithGradient(all, (hidden * at::cat(gradients)).sum(-1)) : all;
}

}  // namespace whyrec::lm
