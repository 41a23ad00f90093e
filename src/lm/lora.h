// Low-rank adapters with peft's semantics (pulse 3.5): y = W x + s B A dropout(x), s = alpha / r,
// or alpha / sqrt(r) with rslora.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "src/lm/weights.h"
#include "src/nn/parameters.h"

namespace whyrec::lm {

struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16, dropout = 0.05;
  bool rslora = false;
  std::vector<std::string> targets = {"qkv_proj", "o_proj"};  // ends of module paths
  std::vector<std::string> modules_to_save;                   // trained in full, "score"
  std::string base_model, task_type = "CAUSAL_LM";

  double scale() const;
};

// A linear map without bias, perhaps with an adapter over it. A and B stay in fp32; the input is
// cast to them and their sum cast back.
struct Projection {
  at::Tensor weight;  // [out, in], frozen or not
  at::Tensor a, b;    // [r, in], [out, r]; undefined: no adapter
  double scale = 0, dropout = 0;
  at::Tensor operator()(const at::Tensor& x, bool training) const;
};

// A network's linear maps by module path, in the order of the network.
using ModuleTable = std::vector<std::pair<std::string, Projection*>>;

}  // namespace whyrec::lm
