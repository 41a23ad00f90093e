// T5 v1.0: encoder-decoder with relative position bias (isrf 6.1). Parameters carry the published
// names. Shapes: B samples, S source and T target positions, d = d_model, H heads of dk = d_kv, V
// vocabulary.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "src/nn/parameters.h"

namespace whyrec::lm {

struct T5Config {
  int64_t vocabulary = 32128, d_model = 512, d_kv = 64, d_ff = 2048, heads = 8;
  int64_t encoder_layers = 6, decoder_layers = 6, buckets = 32, max_distance = 128;
  double dropout = 0.1, epsilon = 1e-6;
};

// config.json. Error(kData) when it is missing, not T5 v1.0 (ReLU, tied head) or lacks a size.
T5Config LoadT5Config(const std::filesystem::path& folder);

// Bucket of the relative position `distance` = key position - query position.
int64_t T5Bucket(int64_t distance, bool bidirectional, int64_t buckets, int64_t max_distance);

class T5 {
 public:
  // Registers its parameters under `prefix`. The output head is tied to "shared.weight".
  T5(const T5Config& config, nn::Parameters& parameters, const std::string& prefix = "");
  void Initialise(uint64_t seed);  // T5's own initialisation
  // A Hugging Face folder. Error(kData) names the first tensor that is missing, unknown or of
  // another shape.
  void Load(const std::filesystem::path& folder);

  const T5Config& config() const { return config_; }

  // All of the following use dropout when `training`.
  at::Tensor Embed(const at::Tensor& ids) const;  // rows of shared.weight, no dropout
  // embeddings [B,S,d], mask bool [B,S] (true = real token) -> [B,S,d]
  at::Tensor Encode(const at::Tensor& embeddings, const at::Tensor& mask, bool training) const;
  // inputs i64 [B,T] (already shifted right), memory [B,S,d], memory_mask bool [B,S] or nothing
  // (attend to everything) -> logits [B,T,V]
  at::Tensor Decode(const at::Tensor& inputs, const at::Tensor& memory,
                    const std::optional<at::Tensor>& memory_mask, bool training) const;

  // Incremental decoding, without gradients. Cross keys and values are made once per user and
  // shared by its beams.
  struct Cache {
    int64_t beams = 0, steps = 0;
    std::optional<at::Tensor> memory_mask;             // [B,S]
    std::vector<at::Tensor> cross_keys, cross_values;  // per layer [B,H,S,dk]
    std::vector<at::Tensor> keys, values;              // per layer [B*beams,H,steps,dk]
    at::Tensor pieces;  // i64 [P]: the pieces that are scored, in this order; undefined: all V
    at::Tensor head;    // their rows [P,d], filled by the first step
  };
  Cache Start(const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
              int64_t beams) const;
  // tokens i64 [B*beams] -> logits [B*beams, V or P]; row r of `origin` (i64 [B*beams]) says which
  // former row it continues (ignored at the first step).
  at::Tensor Step(Cache& cache, const at::Tensor& tokens, const at::Tensor& origin) const;

 private:
  struct Attention {
    at::Tensor norm, q, k, v, o;
  };
  struct Block {
    Attention self, cross;  // no cross in the encoder
    at::Tensor norm, wi, wo;
  };
  struct Stack {
    std::vector<Block> blocks;
    at::Tensor position_bias, norm;  // [buckets,H], [d]
  };
  Stack AddStack(const std::string& name, int64_t layers, bool decoder);
  Attention AddAttention(const std::string& layer, const std::string& name);

  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor Dropout(const at::Tensor& x, bool training) const;
  at::Tensor Heads(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor Attend(const at::Tensor& x, const Attention& a, const at::Tensor& keys,
                    const at::Tensor& values, const at::Tensor& bias, bool training) const;
  at::Tensor FeedForward(const at::Tensor& x, const Block& block, bool training) const;
  at::Tensor PositionBias(const Stack& stack, int64_t first_query, int64_t queries,
                          int64_t keys) const;
  at::Tensor MaskBias(const at::Tensor& allowed) const;
  at::Tensor Head(const at::Tensor& hidden, const at::Tensor& rows, bool training) const;

  T5Config config_;
  nn::Parameters* parameters_;
  std::string prefix_;
  at::Tensor shared_;  // [V,d]
  Stack encoder_, decoder_;
};

}  // namespace whyrec::lm
