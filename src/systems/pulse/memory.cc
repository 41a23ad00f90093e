#include "src/systems/pulse/memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <unistd.h>

#include "src/base/error.h"
#include "src/lm/phi.h"
#include "src/tensor/device.h"
#include "src/text/tokenizer.h"

namespace whyrec::systems {
namespace {

using config::ScorerConfig;

int64_t QueryKeyValueRows(const ModelShape& s) {
  return (s.heads + 2 * s.key_heads) * s.head_size();
}

// Bytes of one value: of the trained weights, and of the base and what passes through it.
struct Sizes {
  double trained, base;
};

Sizes SizesOf(const config::RunConfig& config, bool gpu) {
  const ScorerConfig& scorer = config.pulse().scorer();
  if (config.train().dtype() == config::TrainConfig::FP64) return {8, 8};
  const bool half =
      scorer.dtype() == ScorerConfig::BF16 || (scorer.dtype() == ScorerConfig::BY_DEVICE && gpu);
  return {4, scorer.train_weights() == ScorerConfig::LORA && half ? 2.0 : 4.0};
}

// Bytes that the backward pass of one layer needs of one token: the inputs of its norms, queries,
// keys and values before and after rotation, what attention read, gate, up and their product's
// factors; the adapters' inputs in their own type, after dropout.
double LayerBytes(const config::RunConfig& config, const ModelShape& s, const Sizes& sizes) {
  const ScorerConfig& scorer = config.pulse().scorer();
  const auto d = static_cast<double>(s.width), i = static_cast<double>(s.inner);
  const auto rows = static_cast<double>(QueryKeyValueRows(s));
  const bool lora = scorer.train_weights() == ScorerConfig::LORA;
  const bool half = sizes.base == 2;
  double values = 2 * d /*x, y*/ + rows + rows /*rotated*/ + d /*read*/ + 3 * i;
  double bytes = values * sizes.base;
  if (half) bytes += 2 * d * 4;                        // norms are taken in fp32
  if (!lora) return bytes + (2 * d + i) * sizes.base;  // inputs of the maps
  double inputs = 2 * d;
  if (scorer.all_linear()) inputs += d + i;
  // Cast or after dropout; masks are made again in the backward pass.
  if (half || scorer.dropout() > 0) bytes += inputs * sizes.trained;
  return bytes;
}

double DeviceMemory(const config::RunConfig& config) {
  const c10::Device device = tensor::ChooseDevice(config.execution().device());
  if (!device.is_cpu())
    return static_cast<double>(at::getDeviceAllocator(device.type())
                                   ->getMemoryInfo(std::max<int>(device.index(), 0))
                                   .second);
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

bool HasScoreHead(const ScorerConfig& scorer) {
  return scorer.logit() == ScorerConfig::SCALAR_PACKED ||
         scorer.logit() == ScorerConfig::SCALAR_POINTWISE ||
         scorer.logit() == ScorerConfig::SPAN_LISTWISE;
}

ModelShape ShapeOf(const lm::PhiConfig& c) {
  return {c.vocabulary, c.width, c.inner, c.layers, c.heads, c.key_heads, c.tied_head};
}

ModelShape ShapeOf(const config::RunConfig& config) {
  const auto& language = config.pulse().language();
  if (language.has_folder()) return ShapeOf(lm::LoadPhiConfig(language.folder()));
  if (!language.has_tokenizer())
    Fail(Exit::kUsage, "pulse.language has neither a folder nor a tokenizer");
  return {text::LoadTokenizerJson(language.tokenizer())->size(),
          language.width(),
          language.inner(),
          language.layers(),
          language.heads(),
          language.key_heads(),
          true};
}

int64_t BaseParameters(const ModelShape& s) {
  const int64_t layer =
      QueryKeyValueRows(s) * s.width + s.width * s.width + 3 * s.inner * s.width + 2 * s.width;
  return s.vocabulary * s.width * (s.tied_head ? 1 : 2) + s.layers * layer + s.width;
}

int64_t AdapterParameters(const ModelShape& s, const ScorerConfig& scorer) {
  const auto map = [&](int64_t in, int64_t out) { return scorer.rank() * (in + out); };
  int64_t layer = map(s.width, QueryKeyValueRows(s)) + map(s.width, s.width);
  if (scorer.all_linear()) layer += map(s.width, 2 * s.inner) + map(s.inner, s.width);
  return s.layers * layer;
}

MemoryPlan PlanMemory(const config::RunConfig& config, const ModelShape& shape, bool recompute,
                      const PlanOptions& options) {
  const ScorerConfig& scorer = config.pulse().scorer();
  const auto& train = config.train();
  const bool lora = scorer.train_weights() == ScorerConfig::LORA;
  const bool scalar = HasScoreHead(scorer), letter = scorer.logit() == ScorerConfig::LETTER;
  const Sizes sizes = SizesOf(config, options.gpu);
  const double users = static_cast<double>(
      options.users > 0 ? options.users
                        : (train.micro_batch() > 0 ? train.micro_batch() : train.global_batch()));
  const double length =
      static_cast<double>(options.tokens > 0 ? options.tokens : scorer.path_tokens());
  const double tokens = users * length;
  const auto base = static_cast<double>(BaseParameters(shape));
  const auto layers = static_cast<double>(shape.layers), d = static_cast<double>(shape.width);
  const double trained =
      (lora ? static_cast<double>(AdapterParameters(shape, scorer)) : base) + (scalar ? d : 0);
  const double kept = LayerBytes(config, shape, sizes);
  // Beside what a layer keeps: the gradients of gate, up and their product.
  const double passing = 4 * static_cast<double>(shape.inner) * sizes.base;
  const double group = static_cast<double>(shape.heads / shape.key_heads);

  MemoryPlan plan;
  if (lora) plan.emplace_back("frozen weights", base * sizes.base);
  plan.emplace_back("trained weights, gradients, Adam", trained * 4 * sizes.trained);
  if (recompute) {
    plan.emplace_back("inputs of the layers", tokens * layers * d * sizes.base);
    plan.emplace_back("one layer, run again", tokens * (kept + passing));
  } else {
    plan.emplace_back("what the layers keep", tokens * layers * kept);
    plan.emplace_back("gradients within a layer", tokens * passing);
  }
  // What the embedding gives, and the last norm, in fp32.
  plan.emplace_back("ends of the network", tokens * d * (sizes.base + std::max(4.0, sizes.base)));
  if (scorer.logit() != ScorerConfig::SPAN_LISTWISE && !letter)  // these are plainly causal
    plan.emplace_back("masks", users * group * length * length * (1 + sizes.base));
  const double rows = std::min(256.0, tokens);
  double logits = rows * static_cast<double>(shape.vocabulary) * 12;
  if (scalar) logits = users * 16 * 8;
  if (letter) logits = users * 26 * d * 16;  // the letters' rows of the head, and their products
  plan.emplace_back("logits", logits);
  if (options.gpu) plan.emplace_back("context, library workspaces, allocator slack", 1.5e9);
  double total = 0;
  for (const auto& [item, bytes] : plan) total += bytes;
  plan.emplace_back("total", total);
  return plan;
}

bool RecomputesLayers(const config::RunConfig& config, const ModelShape& shape) {
  if (config.pulse().scorer().checkpoint() != ScorerConfig::AUTO)
    return config.pulse().scorer().checkpoint() == ScorerConfig::ON;
  const bool gpu = !tensor::ChooseDevice(config.execution().device()).is_cpu();
  return PlanMemory(config, shape, false, {.gpu = gpu}).back().second > 0.85 * DeviceMemory(config);
}

}  // namespace whyrec::systems
