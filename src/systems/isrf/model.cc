#include "src/systems/isrf/model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "src/nn/losses.h"
#include "src/tensor/bridge.h"

namespace whyrec::systems {
namespace {

using config::IsrfConfig;

at::Tensor Activate(const at::Tensor& x, config::AdapterConfig::Activation activation) {
  if (activation == config::AdapterConfig::RELU) return at::relu(x);
  if (activation == config::AdapterConfig::GELU) return at::gelu(x);
  return x;
}

}  // namespace

IsrfModel::IsrfModel(IsrfVariant variant, const IsrfConfig& config, const lm::T5Config& t5,
                     const IsrfInputs& inputs, nn::Parameters& parameters)
    : variant_(variant),
      config_(config),
      parameters_(parameters),
      t5_(t5, parameters, "t5."),
      users_(inputs.users),
      items_(inputs.items) {
  const int64_t d = t5.d_model;
  parameters.Add("prompt", {3 * config.prompts_per_task(), d});
  parameters.Add("whole_word", {kWholeWordRows, d});
  if (variant_ == IsrfVariant::kPod) return;
  a_hat_ = std::make_unique<nn::SparseOperator>(*inputs.interactions, true,
                                                nn::StorageOf(config.bf16_layers()));
  if (variant_ == IsrfVariant::kElmrec) {
    parameters.Add("nodes", {users_ + items_ + 1, d});
    return;
  }
  s_hat_ = std::make_unique<nn::SparseOperator>(*inputs.user_graph, false,
                                                nn::StorageOf(config.bf16_layers()));
  item_vectors_ = tensor::View(inputs.item_vectors).to(parameters.device(), parameters.dtype());
  const int64_t p = item_vectors_.size(1), h = (p + d) / 2;
  parameters.Add("user_nodes", {users_ + 1, d});      // P_user
  parameters.Add("user_semantics", {users_ + 1, d});  // G_user
  parameters.Add("adapter.w1", {h, p});
  parameters.Add("adapter.b1", {h});
  parameters.Add("adapter.w2", {d, h});
  parameters.Add("adapter.b2", {d});
}

void IsrfModel::Initialise(uint64_t seed) {
  t5_.Initialise(seed);
  const auto normal = [&](const std::string& path, double stddev) {
    nn::FillNormal(parameters_.Get(path), path, seed, stddev);
  };
  const auto uniform = [&](const std::string& path, double bound) {
    nn::FillUniform(parameters_.Get(path), path, seed, bound);
  };
  if (variant_ == IsrfVariant::kPod)
    uniform("prompt", 0.1);
  else
    normal("prompt", 1);
  normal("whole_word", 1);
  if (variant_ == IsrfVariant::kElmrec) normal("nodes", config_.sigma());
  if (variant_ != IsrfVariant::kIsrfCode) return;
  normal("user_nodes", config_.sigma());
  normal("user_semantics", config_.sigma());
  for (const char* layer : {"1", "2"}) {
    const std::string w = std::string("adapter.w") + layer;
    const double bound = 1 / std::sqrt(static_cast<double>(parameters_.Get(w).size(1)));
    uniform(w, bound);
    uniform(std::string("adapter.b") + layer, bound);
  }
}

// POD adds its whole-word vectors with weight 1.
double IsrfModel::Alpha() const { return variant_ == IsrfVariant::kPod ? 1.0 : config_.alpha(); }

// Eq. 2: X_item = (C W1^T + b1) W2^T + b2, [items, d].
at::Tensor IsrfModel::AdaptedItems() const {
  const at::Tensor hidden =
      at::linear(item_vectors_, parameters_.Get("adapter.w1"), parameters_.Get("adapter.b1"));
  return at::linear(Activate(hidden, config_.adapter().activation()), parameters_.Get("adapter.w2"),
                    parameters_.Get("adapter.b2"));
}

// Eq. 3 and 4: E = mean over l = 0..L of A_hat^l E^(0).
at::Tensor IsrfModel::NodeTable() const {
  if (!a_hat_) return {};
  const at::Tensor start = variant_ == IsrfVariant::kElmrec
                               ? parameters_.Get("nodes")
                               : at::cat({parameters_.Get("user_nodes"), AdaptedItems()});
  return a_hat_->LayerMean(start, config_.layers());
}

// Eq. 6 and 7: G = mean over l = 0..L_user of S_hat^l G_user.
at::Tensor IsrfModel::UserTable() const {
  if (!s_hat_) return {};
  return s_hat_->LayerMean(parameters_.Get("user_semantics"), config_.user_layers());
}

at::Tensor IsrfModel::WordTable(IsrfConfig::Task task, const at::Tensor& nodes) const {
  const bool ordinal = task == IsrfConfig::SEQUENTIAL || variant_ == IsrfVariant::kPod;
  return ordinal ? parameters_.Get("whole_word") : nodes;
}

// Eq. 1 and 5: prompts, then shared[x_s] + alpha W_t[ww_s]; prompts get no whole-word vector.
IsrfModel::Encoded IsrfModel::Encode(const IsrfBatch& batch, const at::Tensor& nodes,
                                     const nn::Draws& draws) const {
  const int64_t size = batch.source.size(0), width = t5_.config().d_model;
  const int64_t prompts = config_.prompts_per_task();
  const at::Tensor words = at::embedding(WordTable(batch.task, nodes), batch.whole_words);
  const at::Tensor tokens = t5_.Embed(batch.source) + words * Alpha();
  const at::Tensor prompt = parameters_.Get("prompt")
                                .narrow(0, batch.task * prompts, prompts)
                                .unsqueeze(0)
                                .expand({size, prompts, width});
  const at::Tensor mask = at::cat({at::ones({size, prompts}, batch.mask.options()), batch.mask}, 1);
  Encoded encoded;
  encoded.memory = t5_.Encode(at::cat({prompt, tokens}, 1), mask, draws);
  if (config_.cross_attention_mask_pad()) encoded.memory_mask = mask;
  return encoded;
}

at::Tensor IsrfModel::TextLossSum(const IsrfBatch& batch, const Encoded& encoded,
                                  const nn::Draws& draws) const {
  const int64_t size = batch.target.size(0), length = batch.target.size(1);
  const at::Tensor start = at::zeros({size, 1}, batch.target.options());  // decoder start is pad, 0
  const at::Tensor inputs = at::cat({start, batch.target.narrow(1, 0, length - 1)}, 1);
  const at::Tensor logits = t5_.Decode(inputs, encoded.memory, encoded.memory_mask, draws);
  return nn::CrossEntropySum(logits, batch.target, config_.loss_ignore_pad()).sum;
}

int64_t IsrfModel::CountedTokens(const at::Tensor& target) const {
  return config_.loss_ignore_pad() ? target.ne(0).sum().item<int64_t>() : target.numel();
}

// Eq. 8: G[users] follows the interaction graph, sg(E[users]). Eq. 9: G[users] and the mean
// whole-word vector of the padded row move towards each other.
at::Tensor IsrfModel::AlignmentLoss(const IsrfBatch& batch, const at::Tensor& nodes,
                                    const train::Team& team) const {
  const auto& align = config_.align();
  const double weight = batch.task == IsrfConfig::EXPLANATION  ? align.explanation()
                        : batch.task == IsrfConfig::SEQUENTIAL ? align.sequential()
                                                               : align.direct();
  if (!s_hat_ || weight == 0) return {};
  const at::Tensor x = at::embedding(UserTable(), batch.users);
  const at::Tensor y = batch.task == IsrfConfig::SEQUENTIAL
                           ? at::embedding(parameters_.Get("whole_word"), batch.whole_words).mean(1)
                           : at::embedding(nodes, batch.users).detach();
  return weight * nn::SoftDotAlignment(team.Gather(x), team.Gather(y), align.temperature());
}

}  // namespace whyrec::systems
