// T5: encoder-decoder with relative position bias (Raffel et al. 2020), in both published forms.
// v1.0: ReLU, head tied to the embeddings. v1.1: gated GELU, separate head. Parameters have their
// published names. Shapes: B samples, S source and T target positions, d = d_model, H heads of
// dk = d_kv, V vocabulary.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/decode/step_model.h"
#include "src/lm/t5_cache.h"
#include "src/lm/weights.h"
#include "src/nn/dropout.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {

struct T5Config {
  int64_t vocabulary = 32128, d_model = 512, d_kv = 64, d_ff = 2048, heads = 8;
  int64_t encoder_layers = 6, decoder_layers = 6, buckets = 32, max_distance = 128;
  double dropout = 0.1, epsilon = 1e-6;
  bool gated = false;  // gelu(x wi_0) * (x wi_1) instead of relu(x wi)
  bool tied = true;    // the head is "shared.weight", else "lm_head.weight"
  bool scaled_head =
      true;  // what the head reads is scaled by d^-0.5: always in v1.0, never in v1.1
  int64_t start = 0, eos = 1, pad = 0;  // start: what the decoder reads first
};

// config.json of today's libraries or older ones. Error(kData) names the key that is missing or
// asks for another network than the two forms.
T5Config LoadT5Config(const std::filesystem::path& folder);

// Bucket of the relative position `distance` = key position - query position.
int64_t T5Bucket(int64_t distance, bool bidirectional, int64_t buckets, int64_t max_distance);

// Target sequences of one sample that share prefixes. Node n appends tokens[n] to what its parent
// has read. Node 0 is the start token with parent -1; parents come before their children.
struct TokenTree {
  std::vector<int64_t> tokens, parents;
};

class T5 {
 public:
  // Registers its parameters under `prefix`.
  T5(const T5Config& config, nn::Parameters& parameters, const std::string& prefix = "");
  void Initialise(uint64_t seed);  // T5's own initialisation
  // A Hugging Face folder's weights. Error(kData) names the first tensor that does not fit (see
  // LoadWeights), or a copy of the shared table that differs from it.
  void Load(const std::filesystem::path& folder);
  // config.json, generation_config.json, model.safetensors: a folder that Load and the reference
  // library read.
  void Save(const std::filesystem::path& folder) const;

  const T5Config& config() const { return config_; }
  const NameTable& table() const { return table_; }

  // `draws`: one stream for each of the B samples in training, else none.
  at::Tensor Embed(const at::Tensor& ids) const;  // rows of shared.weight, no dropout
  // embeddings [B,S,d], mask bool [B,S] (true = real token) -> [B,S,d]
  at::Tensor Encode(const at::Tensor& embeddings, const at::Tensor& mask,
                    const nn::Draws& draws) const;
  // inputs i64 [B,T] (already shifted right), memory [B,S,d], memory_mask bool [B,S] or nothing
  // (attend to everything) -> logits [B,T,V]
  at::Tensor Decode(const at::Tensor& inputs, const at::Tensor& memory,
                    const std::optional<at::Tensor>& memory_mask, const nn::Draws& draws) const;

  // Every node of every sample's tree in one pass, without gradients: a node reads itself and its
  // ancestors. -> logits [B,N,V], or [B,N,P] for the pieces (i64 [P]) if given; N is the size of
  // the largest tree, rows beyond a tree's own nodes mean nothing.
  at::Tensor DecodeTrees(std::span<const TokenTree> trees, const at::Tensor& memory,
                         const std::optional<at::Tensor>& memory_mask,
                         const at::Tensor& pieces = {}) const;

  // Incremental decoding, without gradients; a StepFunction (step_model.h) over `cache`. With
  // `pieces` (i64 [P]) only their logits are computed, in this order.
  using Cache = T5Cache;
  Cache Start(const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
              const at::Tensor& pieces = {}) const;
  at::Tensor Step(Cache& cache, const decode::StepInput& input) const;

 private:
  struct Attention {
    at::Tensor norm, q, k, v, o;
  };
  struct Block {
    Attention self, cross;          // no cross in the encoder
    at::Tensor norm, wi, gate, wo;  // gated: wi is wi_1, gate is wi_0
  };
  struct Stack {
    std::vector<Block> blocks;
    at::Tensor position_bias, norm;  // [buckets,H], [d]
  };
  struct KeysValues {
    at::Tensor keys, values;  // [B,H,S,dk]
  };
  at::Tensor Add(const std::string& name, at::IntArrayRef shape);
  Stack AddStack(const std::string& name, int64_t layers, bool decoder);
  Attention AddAttention(const std::string& layer, const std::string& name);

  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor Dropout(const at::Tensor& x, const nn::RowKeys& keys) const;
  // [B,T] for x [B,T,..]
  nn::RowKeys DropoutKeys(const nn::Draws& draws, const char* stack, const at::Tensor& x) const;
  at::Tensor SelfAttend(const at::Tensor& x, const Attention& a, const at::Tensor& bias,
                        const nn::RowKeys& keys) const;
  at::Tensor CrossAttend(const at::Tensor& x, const Attention& a, const KeysValues& memory,
                         const at::Tensor& bias, const nn::RowKeys& keys) const;
  KeysValues CrossKeysValues(const at::Tensor& memory, const Attention& a) const;
  at::Tensor Read(const at::Tensor& queries, const KeysValues& from, const at::Tensor& bias,
                  const nn::RowKeys& keys) const;
  at::Tensor FeedForward(const at::Tensor& x, const Block& block, const nn::RowKeys& keys) const;
  at::Tensor RunDecoder(const at::Tensor& inputs, const at::Tensor& bias, const at::Tensor& memory,
                        const at::Tensor& cross_bias, const nn::RowKeys& keys) const;
  at::Tensor PositionBias(const Stack& stack, int64_t length) const;
  at::Tensor StepBias(int64_t steps) const;
  at::Tensor TreeBias(std::span<const TokenTree> trees, int64_t nodes) const;
  at::Tensor MaskBias(const at::Tensor& allowed) const;
  at::Tensor Head(const at::Tensor& hidden, const at::Tensor& rows, const nn::RowKeys& keys) const;
  at::Tensor HeadRows(const at::Tensor& pieces) const;

  T5Config config_;
  nn::Parameters* parameters_;
  std::string prefix_;
  NameTable table_;
  at::Tensor shared_, head_;  // [V,d], the same tensor when tied
  Stack encoder_, decoder_;
};

}  // namespace whyrec::lm
