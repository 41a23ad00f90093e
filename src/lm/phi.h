// Phi3ForCausalLM as Phi-4-mini configures it: grouped-query attention, partial rotary embedding
// with LongRoPE, fused qkv_proj and gate_up_proj, RMSNorm, tied head. Shapes: N tokens of a batch,
// packed end to end; d hidden size; H query heads, G key heads of size dk; V vocabulary rows.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "src/lm/lora.h"
#include "src/lm/rope.h"
#include "src/lm/weights.h"
#include "src/nn/losses.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {

struct PhiConfig {
  int64_t vocabulary = 200064, width = 3072, inner = 8192, layers = 32, heads = 24, key_heads = 8;
  int64_t positions = 131072, original_positions = 4096;
  double epsilon = 1e-5, rope_theta = 10000, partial_rotary = 0.75;
  std::vector<double> short_factor, long_factor;  // rotary/2 each; both empty: plain rotary
  bool tied_head = true;
  int64_t bos = 199999, pad = 199999;
  std::vector<int64_t> eos = {199999};  // generation_config.json's where there is one

  int64_t head_size() const { return width / heads; }
  int64_t rotary() const {  // entries of a head that are rotated
    return static_cast<int64_t>(static_cast<double>(head_size()) * partial_rotary);
  }
  bool operator==(const PhiConfig&) const = default;
};

// config.json in the published form (rope_scaling, partial_rotary_factor at the top) and in the one
// that newer libraries write (rope_parameters). Error(kData) names what is unknown.
PhiConfig LoadPhiConfig(const std::filesystem::path& folder);
// config.json in the published form, and generation_config.json. `dtype`: of the weights beside it.
void SavePhiConfig(const std::filesystem::path& folder, const PhiConfig& config,
                   at::ScalarType dtype);

class Phi {
 public:
  // Base weights are frozen unless `train_base`; adapters are added by Lora (lora.h).
  Phi(const PhiConfig& config, nn::Parameters& parameters, const std::string& prefix = "",
      bool train_base = false);
  Phi(const Phi&) = delete;  // adapters refer to its projections
  Phi& operator=(const Phi&) = delete;
  void Initialise(uint64_t seed);  // N(0, 0.02), norms 1
  void Load(const std::filesystem::path& folder);
  void Save(const std::filesystem::path& folder) const;  // config.json and weights

  const PhiConfig& config() const { return config_; }
  const NameTable& table() const { return table_; }
  // The linear maps of every layer by module path ("model.layers.0.self_attn.qkv_proj").
  ModuleTable modules();

  // Attention of one layer over all packed tokens: q [N,H,dk], k and v [N,G,dk], rotated already ->
  // [N,H,dk]. Training brings a mask, generation its caches (text_engine.h).
  using Attend = std::function<at::Tensor(int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v)>;
  // ids, positions i64 [N] -> [N,d], after the last norm. `total_length` picks short or long
  // rotary factors: the longest sequence, prompt and output. `keys` [N]: for the adapters' dropout;
  // none but in training.
  at::Tensor Hidden(const at::Tensor& ids, const at::Tensor& positions, const Attend& attend,
                    int64_t total_length, const nn::RowKeys& keys = {}) const;
  at::Tensor Logits(const at::Tensor& hidden) const;  // [n,d] -> [n,V]
  // One logit a row: that of token ids[i] at hidden[i]; ids i64 [n]. fp32 inside.
  at::Tensor TokenLogits(const at::Tensor& hidden, const at::Tensor& ids) const;
  // Sum of -log p(target) over rows of `hidden` [n,d], targets i64 [n], fp32 inside. Logits are
  // computed for `block` rows at a time, in the backward pass too, to save memory.
  nn::LossSum CausalLoss(const at::Tensor& hidden, const at::Tensor& targets,
                         int64_t block = 256) const;
  // The same by row, [n]. While the head is trained the logits of all rows are kept for it.
  at::Tensor TokenLosses(const at::Tensor& hidden, const at::Tensor& targets,
                         int64_t block = 256) const;

  // Keep only every layer's input for the backward pass and run the layer again there.
  void RecomputeLayers(bool on) { recompute_ = on; }

 private:
  struct Layer {
    at::Tensor input_norm, post_norm;
    Projection qkv, o, gate_up, down;  // base weight and, perhaps, an adapter (lora.h)
  };
  at::Tensor Add(const std::string& name, at::IntArrayRef shape, bool trainable);
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor RowLosses(const at::Tensor& rows, const at::Tensor& head,
                       const at::Tensor& targets) const;
  at::Tensor RunLayer(size_t index, const at::Tensor& x, const Rotation& rotation,
                      const Attend& attend, const nn::RowKeys& keys) const;

  PhiConfig config_;
  nn::Parameters* parameters_;
  std::string prefix_;
  NameTable table_;
  at::Tensor embed_, norm_, head_;
  std::vector<Layer> layers_;
  at::Tensor short_frequencies_, long_frequencies_;  // [rotary/2]
  double magnitude_ = 1;
  bool recompute_ = false;
};

// Attention for whole sequences without a cache: packed sequences of the given lengths, each causal
// in itself.
Phi::Attend CausalAttention(const std::vector<int64_t>& lengths);
// One packed sequence under an explicit mask, bool [N,N] (true: the row may attend to the column),
// such as TreeMask (token_tree.h).
Phi::Attend MaskedAttention(const at::Tensor& mask);

}  // namespace whyrec::lm
