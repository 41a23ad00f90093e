// T5: encoder-decoder with relative position bias (isrf 6.1). Parameters carry the published names.
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

T5Config LoadT5Config(const std::filesystem::path& folder);  // config.json; Error(kData)

class T5 {
 public:
  // Registers its parameters under `prefix`. The output head is tied to "shared.weight".
  T5(const T5Config& config, nn::Parameters& parameters, const std::string& prefix = "");
  void Initialise(uint64_t seed);                          // T5's own initialisation
  void Load(const std::filesystem::path& folder);          // a Hugging Face folder

  const T5Config& config() const { return config_; }

  // All of the following use dropout when `training`.
  at::Tensor Embed(const at::Tensor& ids) const;           // rows of shared.weight, no dropout
  // embeddings [B,S,d], mask bool [B,S] (true = real token) -> [B,S,d]
  at::Tensor Encode(const at::Tensor& embeddings, const at::Tensor& mask, bool training) const;
  // inputs i64 [B,T] (already shifted right), memory [B,S,d], memory_mask bool [B,S] or nothing (attend
  // to everything) -> logits [B,T,V]
  at::Tensor Decode(const at::Tensor& inputs, const at::Tensor& memory,
                    const std::optional<at::Tensor>& memory_mask, bool training) const;

  // Incremental decoding. Cross keys and values are made once per user and shared by its beams.
  struct Cache {
    int64_t beams = 0, steps = 0;
    std::optional<at::Tensor> memory_mask;                 // [B,S]
    std::vector<at::Tensor> cross_keys, cross_values;      // per layer [B,H,S,dk]
    std::vector<at::Tensor> keys, values;                  // per layer [B*beams,H,steps,dk]
  };
  Cache Start(const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
              int64_t beams) const;
  // tokens i64 [B*beams] -> logits [B*beams, V]; row r of `origin` (i64 [B*beams]) says which former row
  // it continues (ignored at the first step).
  at::Tensor Step(Cache& cache, const at::Tensor& tokens, const at::Tensor& origin) const;

 private:
  T5Config config_;
  nn::Parameters* parameters_;
  std::string prefix_;
};

}  // namespace whyrec::lm
