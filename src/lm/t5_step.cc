// T5 without gradients: one position at a time over a cache, and whole trees of positions at once.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/lm/t5.h"

namespace whyrec::lm {
namespace {

// Finished samples leave; live rows follow their ancestors, and a row of ancestors is added: the
// rows themselves.
void Advance(T5Cache& cache, const decode::StepInput& input) {
  const at::Device device = cache.head.device();
  if (input.kept.defined()) {
    const at::Tensor kept = input.kept.to(device);
    for (T5Cache::Layer& layer : cache.layers) {
      layer.cross_keys = layer.cross_keys.index_select(0, kept);
      layer.cross_values = layer.cross_values.index_select(0, kept);
    }
    if (cache.cross_bias.defined()) cache.cross_bias = cache.cross_bias.index_select(0, kept);
  }
  const at::Tensor own =
      at::arange(input.tokens.size(0), at::TensorOptions(at::kLong).device(device)).unsqueeze(0);
  cache.ancestors = cache.steps() == 0
                        ? own
                        : at::cat({cache.ancestors.index_select(1, input.origin.to(device)), own});
}

// Source positions up to the last one that any sample reads.
int64_t UsedLength(const at::Tensor& mask) {
  const at::Tensor places = at::arange(1, mask.size(1) + 1, mask.options().dtype(at::kLong));
  return (mask * places).max().item<int64_t>();
}

}  // namespace

T5::Cache T5::Start(const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
                    const at::Tensor& pieces) const {
  const c10::NoGradGuard no_grad;
  Cache cache;
  cache.pieces = pieces;
  cache.head = HeadRows(pieces);
  at::Tensor used = memory;
  if (memory_mask) {
    used = memory.narrow(1, 0, UsedLength(*memory_mask));
    cache.cross_bias = MaskBias(memory_mask->narrow(1, 0, used.size(1)));
  }
  for (const Block& block : decoder_.blocks) {
    const KeysValues cross = CrossKeysValues(used, block.cross);
    cache.layers.push_back({.qkv = at::cat({block.self.q, block.self.k, block.self.v}),
                            .cross_keys = cross.keys.contiguous(),
                            .cross_values = cross.values.contiguous(),
                            .past = {}});
  }
  return cache;
}

at::Tensor T5::Step(Cache& cache, const decode::StepInput& input) const {
  const c10::NoGradGuard no_grad;
  Advance(cache, input);
  const at::Tensor bias = StepBias(cache.steps());
  at::Tensor x = Embed(input.tokens.to(shared_.device()));  // [rows, d]
  const int64_t rows = x.size(0), samples = rows / input.width;
  for (size_t i = 0; i < decoder_.blocks.size(); ++i) {
    const Block& block = decoder_.blocks[i];
    Cache::Layer& layer = cache.layers[i];
    WR_CHECK(layer.cross_keys.size(0) == samples, layer.cross_keys.size(0), " samples, ", rows,
             " rows of width ", input.width);
    layer.past.push_back(at::linear(Norm(x, block.self.norm), layer.qkv)
                             .view({rows, 3, config_.heads, config_.d_kv}));
    x = x + at::linear(ReadAncestors(layer.past, cache.ancestors, bias), block.self.o);
    // Cross-attention has no position bias, so the rows of a sample can be treated as its
    // positions.
    x = CrossAttend(x.view({samples, input.width, config_.d_model}), block.cross,
                    {layer.cross_keys, layer.cross_values}, cache.cross_bias, {})
            .view({rows, config_.d_model});
    x = FeedForward(x, block, {});
  }
  return Head(x, cache.head, {});
}

at::Tensor T5::DecodeTrees(std::span<const TokenTree> trees, const at::Tensor& memory,
                           const std::optional<at::Tensor>& memory_mask,
                           const at::Tensor& pieces) const {
  const c10::NoGradGuard no_grad;
  size_t nodes = 0;
  for (const TokenTree& tree : trees) nodes = std::max(nodes, tree.tokens.size());
  std::vector<int64_t> tokens(trees.size() * nodes, config_.pad);
  for (size_t b = 0; b < trees.size(); ++b)
    std::copy(trees[b].tokens.begin(), trees[b].tokens.end(),
              tokens.begin() + static_cast<int64_t>(b * nodes));
  const at::Tensor inputs =
      at::tensor(tokens)
          .to(shared_.device())
          .view({static_cast<int64_t>(trees.size()), static_cast<int64_t>(nodes)});
  const at::Tensor cross_bias = memory_mask ? MaskBias(*memory_mask) : at::Tensor();
  const at::Tensor bias = TreeBias(trees, static_cast<int64_t>(nodes));
  return Head(RunDecoder(inputs, bias, memory, cross_bias, {}), HeadRows(pieces), {});
}

}  // namespace whyrec::lm
