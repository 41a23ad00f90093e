// Low-rank adapters with peft's semantics (Hu et al. 2022): y = W x + s B A dropout(x),
// s = alpha / r, or alpha / sqrt(r) with rslora.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/lm/weights.h"
#include "src/nn/dropout.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {

class Phi;

struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16, dropout = 0.05;
  bool rslora = false;
  // Ends of module paths. A fused map may also be named by its parts ("q_proj", "gate_proj").
  std::vector<std::string> targets = {"qkv_proj", "o_proj"};
  std::map<std::string, int64_t> rank_pattern;  // ends of module paths with another rank, alpha
  std::map<std::string, double> alpha_pattern;
  std::vector<std::string> modules_to_save;  // trained in full, "score"
  std::string base_model, task_type = "CAUSAL_LM";

  double scale() const { return Scale(alpha, rank); }
  double Scale(double of_alpha, int64_t of_rank) const;
};

// adapter_config.json. Error(kData) names what would change the numbers and is not supported
// (use_dora, bias, layers_to_transform, ...).
LoraConfig LoadLoraConfig(const std::filesystem::path& folder);

// A linear map without bias, perhaps with an adapter over it. A and B stay in their own type (fp32
// over bf16 weights); the input is cast to it and the sum cast back.
struct Projection {
  at::Tensor weight;  // [out, in], frozen or not
  at::Tensor a, b;    // [r, in], [out, r]; undefined: no adapter
  double scale = 0, dropout = 0;
  // The blocks of a fused map, top to bottom: the name each has in split models, and its rows.
  std::vector<std::pair<std::string, int64_t>> parts = {};

  // x [N, in]; keys [N] in training, else none.
  at::Tensor operator()(const at::Tensor& x, const nn::RowKeys& keys) const;
};

// A network's linear maps by module path, in the order of the network.
using ModuleTable = std::vector<std::pair<std::string, Projection*>>;

// The adapter of one model: puts its A and B into the model's projections.
class Lora {
 public:
  // Registers <prefix><module path>.lora_A.weight, .lora_B.weight and, with modules_to_save,
  // <prefix>score.weight [1,d]. `parameters` should be fp32 whatever the model's type. The model
  // must stay where it is. Error(kData): targets that name no module. An adapter with split targets
  // gets one A and one B over the fused map, with its parts as blocks.
  Lora(Phi& model, const LoraConfig& config, nn::Parameters& parameters,
       const std::string& prefix = "");
  void Initialise(uint64_t seed);  // A ~ U(-1/sqrt(in), 1/sqrt(in)), B = 0, score ~ N(0, 0.02)

  // adapter_model.safetensors. Error(kData) names the first key that is unknown, missing or not
  // finite, and says when the adapter belongs to another base.
  void Load(const std::filesystem::path& folder);
  // adapter_config.json and adapter_model.safetensors, as peft reads them over the fused model.
  void Save(const std::filesystem::path& folder) const;

  // W += s B A, summed in fp32 and cast to W's type. `undoable` keeps the old weights, so that
  // Unmerge restores every bit.
  void Merge(bool undoable = false);
  void Unmerge();

  const LoraConfig& config() const { return config_; }
  const at::Tensor& score() const { return score_; }  // [1,d]; undefined without modules_to_save
  int64_t Count() const;                              // trainable values

 private:
  struct Slot {  // one published A and B, and its block of the module's
    std::string path;
    int64_t first_rank, rank, first_row, rows;
  };
  struct Adapter {
    std::string path;
    Projection* module;
    at::Tensor a, b;
    double scale;
    std::vector<Slot> slots;
    at::Tensor unmerged;  // the old weight
  };
  std::vector<Slot> Slots(const std::string& path, const Projection& module, double* scale) const;
  bool Targeted(const std::string& path) const;
  LoraConfig FusedConfig() const;

  LoraConfig config_;
  std::string prefix_;
  ModuleTable modules_;
  std::vector<Adapter> adapters_;
  at::Tensor score_;
  bool merged_ = false;
};

}  // namespace whyrec::lm
