// Memory that training the scorer takes, predicted from the configuration and the shapes of the
// base model. No LibTorch types: `whyrec plan` prints it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proto/config.pb.h"

namespace whyrec::lm {
struct PhiConfig;
}

namespace whyrec::systems {

// Whether the configured logit (pulse.scorer.logit) uses a scoring head w.
bool HasScoreHead(const config::ScorerConfig& scorer);

struct ModelShape {
  int64_t vocabulary = 0, width = 0, inner = 0, layers = 0, heads = 0, key_heads = 0;
  bool tied_head = true;

  int64_t head_size() const { return width / heads; }
};

// Of pulse.language.folder, or of the sizes of pulse.language (the tokenizer tells the vocabulary).
ModelShape ShapeOf(const config::RunConfig& config);
ModelShape ShapeOf(const lm::PhiConfig& config);

int64_t BaseParameters(const ModelShape& shape);
// Without the head w.
int64_t AdapterParameters(const ModelShape& shape, const config::ScorerConfig& scorer);

// The device a plan is for, and the size of a pass.
struct PlanOptions {
  bool gpu = false;
  int64_t users = 0;   // of a pass; 0: train.micro_batch, or one rank's whole global batch
  int64_t tokens = 0;  // of a user's packed sequence; 0: pulse.scorer.path_tokens
};

// (item, bytes): weights, adapters, saved activations, ...; the last item is "total".
using MemoryPlan = std::vector<std::pair<std::string, double>>;
MemoryPlan PlanMemory(const config::RunConfig& config, const ModelShape& shape, bool recompute,
                      const PlanOptions& options = {});

// pulse.scorer.checkpoint; AUTO: yes where the plan without it would take more than 85 % of the
// device's memory.
bool RecomputesLayers(const config::RunConfig& config, const ModelShape& shape);

}  // namespace whyrec::systems
