#include "src/systems/isrf/model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "src/base/error.h"
#include "src/nn/losses.h"
#include "src/store/safetensors.h"
#include "src/tensor/bridge.h"
#include "src/train/tensor_files.h"

namespace whyrec::systems {
namespace {

using config::IsrfConfig;

at::Tensor Activate(const at::Tensor& x, config::AdapterConfig::Activation activation) {
  if (activation == config::AdapterConfig::RELU) return at::relu(x);
  if (activation == config::AdapterConfig::GELU) return at::gelu(x);
  return x;
}

std::vector<int64_t> Numbers(const at::Tensor& rows) {  // i64, of any shape
  const at::Tensor flat = rows.cpu().contiguous().view(-1);
  const auto* data = flat.const_data_ptr<int64_t>();
  return {data, data + flat.numel()};
}

constexpr const char* kAdapter[] = {"adapter.w1", "adapter.b1", "adapter.w2", "adapter.b2"};
constexpr char kPropagated[] = "propagated.safetensors";

}  // namespace

IsrfModel::IsrfModel(IsrfVariant variant, const IsrfConfig& config, const lm::T5Config& t5,
                     IsrfInputs inputs, nn::Parameters& parameters)
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
  const nn::LayerStorage storage = nn::StorageOf(config.bf16_layers());
  a_hat_.emplace(std::move(*inputs.interactions), true, users_, storage);
  if (variant_ == IsrfVariant::kElmrec) {
    parameters.Add("nodes", {users_ + items_ + 1, d});
    return;
  }
  s_hat_.emplace(std::move(*inputs.user_graph), false, users_, storage);
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
    nn::FillNormal(parameters_.Get(path), path, seed, stddev, parameters_.ShardOf(path));
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

void IsrfModel::Join(const train::Team& team, const config::GraphsConfig& graphs) {
  team_ = team;
  if (!a_hat_) return;
  // The graphs bring the sums of all ranks.
  if (variant_ == IsrfVariant::kElmrec) {
    parameters_.MarkSummed("nodes");
  } else {
    for (const char* path : {"user_nodes", "user_semantics"}) parameters_.MarkSummed(path);
    for (const char* path : kAdapter) parameters_.MarkSummed(path);
  }
  const int64_t table = (users_ + items_ + 1) * t5_.config().d_model *
                        static_cast<int64_t>(c10::elementSize(parameters_.dtype()));
  if (!ranking::Distributes(graphs, 4 * table, team)) {
    a_hat_->Join(team);
    if (s_hat_) s_hat_->Join(team);
    return;
  }
  const auto map = a_hat_->Partition(team.comm().size());
  a_hat_->Join(team, map);
  if (variant_ == IsrfVariant::kElmrec) {
    parameters_.Distribute("nodes", a_hat_->shard());
    return;
  }
  // Users have the same owner in both graphs. Node 0 stands before them in both.
  const auto users = std::make_shared<const NodeMap>(
      MakeNodeMap({map->owner.begin(), map->owner.begin() + users_ + 1}, team.comm().size()));
  s_hat_->Join(team, users);
  parameters_.Distribute("user_nodes", s_hat_->shard());
  parameters_.Distribute("user_semantics", s_hat_->shard());
  std::vector<int64_t> items;
  for (const int64_t node : a_hat_->shard().rows())
    if (node > users_) items.push_back(node - users_ - 1);
  item_vectors_ =
      item_vectors_.index_select(0, at::tensor(items, at::kLong).to(item_vectors_.device()));
}

// POD adds its whole-word vectors with weight 1.
double IsrfModel::Alpha() const { return variant_ == IsrfVariant::kPod ? 1.0 : config_.alpha(); }

// Eq. 2: X_item = (C W1^T + b1) W2^T + b2, [rows of C, d].
at::Tensor IsrfModel::AdaptedItems(const at::Tensor& vectors) const {
  const at::Tensor hidden =
      at::linear(vectors, parameters_.Get("adapter.w1"), parameters_.Get("adapter.b1"));
  return at::linear(Activate(hidden, config_.adapter().activation()), parameters_.Get("adapter.w2"),
                    parameters_.Get("adapter.b2"));
}

// E^(0), the rows of this rank: users, then items.
at::Tensor IsrfModel::StartTable() const {
  const c10::NoGradGuard no_grad;
  return variant_ == IsrfVariant::kElmrec
             ? parameters_.Get("nodes")
             : at::cat({parameters_.Get("user_nodes"), AdaptedItems(item_vectors_)});
}

bool IsrfModel::Ordinal(IsrfConfig::Task task) const {
  return task == IsrfConfig::SEQUENTIAL || variant_ == IsrfVariant::kPod;
}

double IsrfModel::AlignmentWeight(IsrfConfig::Task task) const {
  if (!s_hat_) return 0;
  const auto& align = config_.align();
  return task == IsrfConfig::EXPLANATION  ? align.explanation()
         : task == IsrfConfig::SEQUENTIAL ? align.sequential()
                                          : align.direct();
}

// Eq. 3 and 4: E = mean over l = 0..L of A_hat^l E^(0). Eq. 6 and 7: G = mean over l = 0..L_user of
// S_hat^l G_user.
IsrfModel::Rows IsrfModel::BeginStep(const IsrfBatch& slice) {
  Rows rows;
  reads_users_ = AlignmentWeight(slice.task) != 0;
  reads_nodes_ = !Ordinal(slice.task);
  if (reads_nodes_) {
    std::vector<int64_t> nodes = Numbers(slice.whole_words);
    const std::vector<int64_t> users = Numbers(slice.users);  // eq. 8
    if (reads_users_) nodes.insert(nodes.end(), users.begin(), users.end());
    a_hat_->BeginStep(StartTable(), std::move(nodes), config_.layers());
    rows.nodes = a_hat_->Mean();
  }
  if (reads_users_) {
    s_hat_->BeginStep(parameters_.Get("user_semantics"), Numbers(slice.users),
                      config_.user_layers());
    rows.users = s_hat_->Mean();
  }
  return rows;
}

void IsrfModel::EndStep() {
  if (reads_users_) parameters_.Get("user_semantics").mutable_grad() = s_hat_->EndStep();
  if (!reads_nodes_) return;
  const at::Tensor gradient = a_hat_->EndStep();
  if (variant_ == IsrfVariant::kElmrec) {
    parameters_.Get("nodes").mutable_grad() = gradient;
    return;
  }
  at::Tensor users = parameters_.Get("user_nodes");
  users.mutable_grad() = gradient.narrow(0, 0, users.size(0));
  // Every rank takes a share of the items through the adapter: its own, or as many as others.
  const int64_t items = item_vectors_.size(0);
  const train::Slice share = a_hat_->map() ? train::Slice{0, items} : team_.Own(items);
  AdaptedItems(item_vectors_.narrow(0, share.begin, share.size()))
      .backward(gradient.narrow(0, users.size(0) + share.begin, share.size()));
  for (const char* path : kAdapter) team_.Sum(parameters_.Get(path).mutable_grad());
}

void IsrfModel::KeepNodes() {
  const c10::NoGradGuard no_grad;
  if (a_hat_) kept_ = a_hat_->Mean(StartTable(), config_.layers());
}

ranking::NodeRows IsrfModel::Nodes(const IsrfBatch& batch) const {
  if (Ordinal(batch.task)) return {};
  WR_CHECK(kept_, "nodes are read before KeepNodes or Load");
  return a_hat_->Rows(*kept_, a_hat_->map() ? Numbers(batch.whole_words) : std::vector<int64_t>());
}

void IsrfModel::Save(const std::filesystem::path& folder) const {
  if (!a_hat_) return;
  const nn::Shard shard = a_hat_->shard();
  train::SaveTensors({{"nodes", *kept_, shard.map ? &shard : nullptr}}, folder / kPropagated,
                     team_.comm());
}

void IsrfModel::Load(const std::filesystem::path& folder) {
  if (!a_hat_) return;
  kept_ = tensor::View(store::ReadSafetensors(folder / kPropagated).at("nodes"))
              .to(parameters_.device());
}

Facts IsrfModel::facts() const { return a_hat_ ? a_hat_->facts() : Facts(); }

// Eq. 1 and 5: prompts, then shared[x_s] + alpha W_t[ww_s]; prompts get no whole-word vector.
IsrfModel::Encoded IsrfModel::Encode(const IsrfBatch& batch, const ranking::NodeRows& nodes,
                                     const nn::Draws& draws) const {
  const int64_t size = batch.source.size(0), width = t5_.config().d_model;
  const int64_t prompts = config_.prompts_per_task();
  const at::Tensor words = Ordinal(batch.task)
                               ? at::embedding(parameters_.Get("whole_word"), batch.whole_words)
                               : nodes.Nodes(batch.whole_words);
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
at::Tensor IsrfModel::AlignmentLoss(const IsrfBatch& batch, const Rows& rows,
                                    const train::Team& team) const {
  const double weight = AlignmentWeight(batch.task);
  if (weight == 0) return {};
  const at::Tensor x = rows.users.Nodes(batch.users);
  const at::Tensor y = batch.task == IsrfConfig::SEQUENTIAL
                           ? at::embedding(parameters_.Get("whole_word"), batch.whole_words).mean(1)
                           : rows.nodes.Nodes(batch.users).detach();
  return weight *
         nn::SoftDotAlignment(team.Gather(x), team.Gather(y), config_.align().temperature());
}

}  // namespace whyrec::systems
