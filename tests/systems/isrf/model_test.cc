// The network of ISRF against its equations, written as plain loops, and which parameters each loss
// gives gradients to.
#include "src/systems/isrf/model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>

#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/graph/graphs.h"
#include "src/tensor/bridge.h"

namespace whyrec::systems {
namespace {

using config::AdapterConfig;
using config::IsrfConfig;

constexpr int64_t kUsers = 4, kItems = 6, kNodes = kUsers + kItems + 1, kWidth = 8;

// Training items of four users; user 1 has item 3 twice, so its edge counts twice. Item 5 has no
// edge.
Ragged<int64_t> Histories() {
  Ragged<int64_t> out;
  for (const std::vector<int64_t>& row :
       {std::vector<int64_t>{0, 1, 2}, {3, 3, 1}, {4, 0}, {2, 1, 0, 4}})
    out.Append(row);
  return out;
}

const std::vector<std::vector<int32_t>> kNeighbours = {{1, 2}, {0, 3}, {3, 1}, {2, 0}};

IsrfInputs Inputs() {
  std::vector<int32_t> flat;
  for (const auto& row : kNeighbours) flat.insert(flat.end(), row.begin(), row.end());
  HostTensor vectors = HostTensor::Zeros(DType::kF32, {kItems, 5});
  Rng(3, "item vectors").FillNormal(vectors.values<float>(), 1);
  return {.users = kUsers,
          .items = kItems,
          .interactions = graph::InteractionGraph(Histories(), kItems),
          .user_graph = graph::UserGraph(HostTensor::From(flat, {kUsers, 2})),
          .item_vectors = vectors};
}

IsrfConfig Config() {
  IsrfConfig config;
  config.set_loss_ignore_pad(true);
  config.set_cross_attention_mask_pad(true);
  return config;
}

lm::T5Config SmallT5() {
  return {.vocabulary = 30,
          .d_model = kWidth,
          .d_kv = 4,
          .d_ff = 16,
          .heads = 2,
          .encoder_layers = 1,
          .decoder_layers = 1,
          .dropout = 0};
}

struct Net {
  explicit Net(const IsrfConfig& config = Config(), IsrfVariant variant = IsrfVariant::kIsrfCode)
      : model(variant, config, SmallT5(), Inputs(), parameters) {
    model.Initialise(9);
  }
  explicit Net(IsrfVariant variant) : Net(Config(), variant) {}
  at::Tensor Get(const std::string& path) const { return parameters.Get(path); }

  // A step that reads every row.
  IsrfModel::Rows Rows() {
    return model.BeginStep({.task = IsrfConfig::DIRECT,
                            .source = {},
                            .mask = {},
                            .whole_words = at::arange(kNodes),
                            .target = {},
                            .users = at::arange(kUsers + 1)});
  }
  at::Tensor E() { return Rows().nodes.Nodes(at::arange(kNodes)); }  // [nodes, d]
  at::Tensor G() { return Rows().users.Nodes(at::arange(kUsers + 1)); }

  // Paths that have a gradient other than zero; those of the backbone as "t5".
  std::set<std::string> Moved() const {
    std::set<std::string> out;
    for (const auto& [path, p] : parameters.all()) {
      if (!p.grad().defined()) continue;
      EXPECT_GT(p.grad().abs().max().item<double>(), 0) << path;
      out.insert(path.starts_with("t5.") ? "t5" : path);
    }
    return out;
  }

  nn::Parameters parameters{at::kDouble};
  IsrfModel model;
};

at::Tensor Ints(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(flat).view({std::ssize(rows), -1});
}

// Two samples; the second is shorter. Whole words are node rows (user 2 and items 1, 3, ...), or in
// the sequential task ordinals.
IsrfBatch SmallBatch(IsrfConfig::Task task) {
  const bool ordinal = task == IsrfConfig::SEQUENTIAL;
  const at::Tensor source = Ints({{5, 6, 7, 8, 9, 1}, {5, 6, 10, 1, 0, 0}});
  return {task,
          source,
          source.ne(0),
          ordinal ? Ints({{1, 1, 2, 2, 3, 0}, {1, 1, 2, 0, 0, 0}})
                  : Ints({{2, 2, 6, 6, 8, 0}, {4, 4, 9, 0, 0, 0}}),
          Ints({{11, 12, 1}, {13, 1, 0}}),
          at::tensor(std::vector<int64_t>{2, 4})};
}

void ExpectNear(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  ASSERT_EQ(a.sizes().vec(), b.sizes().vec());
  EXPECT_LT((a - b).abs().max().item<double>(), tolerance);
}

// mean over l = 0..4 of S^l x, with dense matrices.
at::Tensor DenseMean(const at::Tensor& s, const at::Tensor& x) {
  at::Tensor power = at::eye(s.size(0), at::kDouble), sum = power.clone();
  for (int l = 1; l <= 4; ++l) sum += power = at::matmul(power, s);
  return at::matmul(sum / 5, x);
}

// A_hat of 6.4 entry by entry.
at::Tensor DenseInteractions() {
  at::Tensor a = at::zeros({kNodes, kNodes}, at::kDouble);
  const auto histories = Histories();
  for (int64_t u = 0; u < kUsers; ++u)
    for (int64_t item : histories.row(u)) {
      a[u + 1][kUsers + 1 + item] += 1;
      a[kUsers + 1 + item][u + 1] += 1;
    }
  const at::Tensor degree = a.sum(1).clamp_min(1e-9);
  return a / (degree.unsqueeze(1) * degree.unsqueeze(0)).sqrt();
}

at::Tensor AdaptedItems(const Net& net, bool relu) {
  const at::Tensor c = tensor::View(Inputs().item_vectors).to(at::kDouble);
  const at::Tensor hidden = at::matmul(c, net.Get("adapter.w1").t()) + net.Get("adapter.b1");
  return at::matmul(relu ? at::relu(hidden) : hidden, net.Get("adapter.w2").t()) +
         net.Get("adapter.b2");
}

TEST(IsrfModel, NodeTableIsEquations2To4) {
  for (const bool relu : {false, true}) {
    IsrfConfig config = Config();
    if (relu) config.mutable_adapter()->set_activation(AdapterConfig::RELU);
    Net net(config);
    at::Tensor start = at::zeros({kNodes, kWidth}, at::kDouble);
    start.narrow(0, 0, kUsers + 1).copy_(net.Get("user_nodes").detach());
    start.narrow(0, kUsers + 1, kItems).copy_(AdaptedItems(net, relu).detach());
    const at::Tensor nodes = net.E();
    ExpectNear(nodes, DenseMean(DenseInteractions(), start), 1e-12);
    net.model.KeepNodes();
    EXPECT_TRUE(net.model.Nodes(SmallBatch(IsrfConfig::DIRECT)).table().equal(nodes));
    ExpectNear(nodes[0], net.Get("user_nodes")[0] / 5, 1e-12);  // row 0 is isolated
  }
  Net elmrec(IsrfVariant::kElmrec);
  ExpectNear(elmrec.E(), DenseMean(DenseInteractions(), elmrec.Get("nodes")), 1e-6);
}

TEST(IsrfModel, UserTableIsEquations6And7) {
  Net net;
  at::Tensor s = at::zeros({kUsers + 1, kUsers + 1}, at::kDouble);
  s[0][0] = 1;
  for (int64_t u = 0; u < kUsers; ++u) {
    s[u + 1][u + 1] = 1 / 3.0;
    for (int32_t v : kNeighbours[static_cast<size_t>(u)]) s[u + 1][v + 1] = 1 / 3.0;
  }
  ExpectNear(net.G(), DenseMean(s, net.Get("user_semantics")), 1e-6);
}

// With blocks that add nothing the encoder is its final norm, so its output shows the input
// vectors.
at::Tensor Normed(const at::Tensor& x) { return x / (x.pow(2).mean(-1, true) + 1e-6).sqrt(); }

// Equations 1 and 5: prompts alone; row 0 of the table goes to all other tokens, </s> and padding.
TEST(IsrfModel, InputVectorsAreEquations1And5) {
  for (const auto variant : {IsrfVariant::kPod, IsrfVariant::kElmrec, IsrfVariant::kIsrfCode}) {
    for (const auto task : {IsrfConfig::EXPLANATION, IsrfConfig::SEQUENTIAL, IsrfConfig::DIRECT}) {
      Net net{variant};
      for (const char* last : {"0.SelfAttention.o", "1.DenseReluDense.wo"})
        nn::Fill(net.Get(Cat("t5.encoder.block.0.layer.", last, ".weight")), 0);
      const IsrfBatch batch = SmallBatch(task);
      const bool graph = variant != IsrfVariant::kPod && task != IsrfConfig::SEQUENTIAL;
      const at::Tensor table = graph ? net.E() : net.Get("whole_word");
      const double alpha = variant == IsrfVariant::kPod ? 1 : 11;
      at::Tensor expected = at::zeros({2, 3 + 6, kWidth}, at::kDouble);
      c10::NoGradGuard no_grad;
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t p = 0; p < 3; ++p) expected[b][p] = net.Get("prompt")[task * 3 + p];
        for (int64_t s = 0; s < 6; ++s)
          expected[b][3 + s] = net.Get("t5.shared.weight")[batch.source[b][s].item<int64_t>()] +
                               alpha * table[batch.whole_words[b][s].item<int64_t>()];
      }
      const auto encoded = net.model.Encode(batch, net.model.BeginStep(batch).nodes, {});
      ExpectNear(encoded.memory, Normed(expected), 1e-10);
      ASSERT_TRUE(encoded.memory_mask);
      EXPECT_EQ(encoded.memory_mask->sum().item<int64_t>(), 2 * 3 + 6 + 4);
    }
  }
}

// Eq. 11's sum, token by token, with and without padding.
TEST(IsrfModel, TextLossCountsPaddingAsTold) {
  for (const bool ignore : {true, false}) {
    IsrfConfig config = Config();
    config.set_loss_ignore_pad(ignore);
    Net net(config);
    const IsrfBatch batch = SmallBatch(IsrfConfig::DIRECT);
    const auto encoded = net.model.Encode(batch, net.model.BeginStep(batch).nodes, {});
    const at::Tensor shifted = Ints({{0, 11, 12}, {0, 13, 1}});
    const at::Tensor log_p = at::log_softmax(
        net.model.t5().Decode(shifted, encoded.memory, encoded.memory_mask, {}), -1);
    double sum = 0;
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t t = 0; t < 3; ++t) {
        const auto target = batch.target[b][t].item<int64_t>();
        if (target != 0 || !ignore) sum -= log_p[b][t][target].item<double>();
      }
    EXPECT_NEAR(net.model.TextLossSum(batch, encoded, {}).item<double>(), sum, 1e-10);
    EXPECT_EQ(net.model.CountedTokens(batch.target), ignore ? 5 : 6);
  }
}

// A parameter that a task does not train has no gradient at all, so the optimiser skips it. The
// alignment loss follows E, which does not follow it.
TEST(IsrfModel, LossesMoveTheirParametersOnly) {
  const auto comm = cluster::MakeSelf();
  for (const auto task : {IsrfConfig::EXPLANATION, IsrfConfig::SEQUENTIAL, IsrfConfig::DIRECT}) {
    const IsrfBatch batch = SmallBatch(task);
    IsrfConfig unaligned = Config();
    auto& align = *unaligned.mutable_align();
    align.set_explanation(0), align.set_sequential(0), align.set_direct(0);
    Net text(unaligned), both;
    for (Net* net : {&text, &both}) {
      const IsrfModel::Rows rows = net->model.BeginStep(batch);
      net->model.TextLossSum(batch, net->model.Encode(batch, rows.nodes, {}), {}).backward();
      if (net == &both) net->model.AlignmentLoss(batch, rows, train::Team(*comm)).backward();
      net->model.EndStep();
    }
    std::set<std::string> moved = {"t5", "prompt"};
    if (task == IsrfConfig::SEQUENTIAL)
      moved.insert("whole_word");
    else
      moved.insert({"user_nodes", "adapter.w1", "adapter.b1", "adapter.w2", "adapter.b2"});
    EXPECT_EQ(text.Moved(), moved);
    moved.insert("user_semantics");
    EXPECT_EQ(both.Moved(), moved);
    if (task != IsrfConfig::SEQUENTIAL) {
      EXPECT_TRUE(at::equal(text.Get("user_nodes").grad(), both.Get("user_nodes").grad()));
    }
  }
}

// The gradients that NodeGraph brings back are those of the equations as autograd has them.
TEST(IsrfModel, GradientsAreThoseOfTheEquations) {
  Net net;
  const IsrfBatch batch = SmallBatch(IsrfConfig::DIRECT);
  const IsrfModel::Rows rows = net.model.BeginStep(batch);
  const at::Tensor weights = at::arange(2 * 6 * kWidth, at::kDouble).view({2, 6, kWidth}).sin();
  (rows.nodes.Nodes(batch.whole_words) * weights).sum().backward();
  net.model.EndStep();
  const at::Tensor users = net.Get("user_nodes").detach().clone().set_requires_grad(true);
  std::map<std::string, at::Tensor> got = {{"user_nodes", net.Get("user_nodes").grad().clone()}};
  for (const char* path : {"adapter.w1", "adapter.b1", "adapter.w2", "adapter.b2"}) {
    got[path] = net.Get(path).grad().clone();
    net.Get(path).mutable_grad() = at::Tensor();
  }
  const at::Tensor e =
      DenseMean(DenseInteractions(), at::cat({users, AdaptedItems(net, /*relu=*/false)}));
  (at::embedding(e, batch.whole_words) * weights).sum().backward();
  for (const auto& [path, gradient] : got)
    ExpectNear(gradient, path == "user_nodes" ? users.grad() : net.Get(path).grad(), 1e-12);
}

// Eq. 8 and 9 with X = G[users] and Y = E[users], or the mean whole-word vector over the padded
// row.
TEST(IsrfModel, AlignmentTakesTheRightRows) {
  const auto comm = cluster::MakeSelf();
  IsrfConfig config = Config();
  config.set_sigma(0.3);  // soft targets that are not one-hot
  config.mutable_align()->set_sequential(0.5);
  config.mutable_align()->set_temperature(2);
  Net net(config);
  for (const auto task : {IsrfConfig::EXPLANATION, IsrfConfig::SEQUENTIAL, IsrfConfig::DIRECT}) {
    const IsrfBatch batch = SmallBatch(task);
    const at::Tensor nodes = net.E(), users = net.G();
    const IsrfModel::Rows rows = net.model.BeginStep(batch);
    const bool sequential = task == IsrfConfig::SEQUENTIAL;
    std::vector<at::Tensor> x, y;
    for (int64_t b = 0; b < 2; ++b) {
      const auto user = batch.users[b].item<int64_t>();
      x.push_back(users[user]);
      at::Tensor words = at::zeros({kWidth}, at::kDouble);
      for (int64_t s = 0; s < 6; ++s)
        words = words + net.Get("whole_word")[batch.whole_words[b][s].item<int64_t>()] / 6;
      y.push_back(sequential ? words : nodes[user]);
    }
    const auto dot = [](const at::Tensor& a, const at::Tensor& b) {
      return (a * b).sum().item<double>();
    };
    const auto softmax = [](const std::array<double, 2>& r, int j) {
      return std::exp(r[j]) / (std::exp(r[0]) + std::exp(r[1]));
    };
    double expected = 0;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) {
        std::array<double, 2> target, row, column;
        for (int k = 0; k < 2; ++k) {
          target[k] = 2 * (dot(y[i], y[k]) + dot(x[i], x[k])) / 2;
          row[k] = dot(x[i], y[k]) / 2;
          column[k] = dot(x[k], y[j]) / 2;
        }
        expected -=
            softmax(target, j) * (std::log(softmax(row, j)) + std::log(softmax(column, i))) / 4;
      }
    EXPECT_NEAR(net.model.AlignmentLoss(batch, rows, train::Team(*comm)).item<double>(),
                expected * (sequential ? 0.5 : 1), 1e-9);
  }
  Net elmrec(IsrfVariant::kElmrec);
  const IsrfBatch batch = SmallBatch(IsrfConfig::DIRECT);
  EXPECT_FALSE(elmrec.model.AlignmentLoss(batch, elmrec.model.BeginStep(batch), train::Team(*comm))
                   .defined());
}

// A longer sample in the batch changes a sample's logits unless cross-attention is masked.
TEST(IsrfModel, PaddingMattersUnlessItIsMasked) {
  for (const bool masked : {false, true}) {
    IsrfConfig config = Config();
    config.set_cross_attention_mask_pad(masked);
    Net net(config);
    const IsrfBatch batch = SmallBatch(IsrfConfig::DIRECT);
    const ranking::NodeRows nodes = net.model.BeginStep(batch).nodes;
    const auto logits = [&](int64_t width) {
      const auto cut = [&](const at::Tensor& t) { return t.narrow(0, 1, 1).narrow(1, 0, width); };
      const IsrfBatch one{batch.task,
                          cut(batch.source),
                          cut(batch.mask),
                          cut(batch.whole_words),
                          batch.target.narrow(0, 1, 1),
                          batch.users.narrow(0, 1, 1)};
      const auto encoded = net.model.Encode(one, nodes, {});
      return net.model.t5().Decode(Ints({{0, 13}}), encoded.memory, encoded.memory_mask, {});
    };
    const double change = (logits(4) - logits(6)).abs().max().item<double>();
    if (masked) {
      EXPECT_LT(change, 1e-10);
    } else {
      EXPECT_GT(change, 1e-4);
    }
  }
}

std::set<std::string> OwnPaths(const nn::Parameters& parameters) {
  std::set<std::string> out;
  for (const auto& [path, p] : parameters.all())
    if (!path.starts_with("t5.")) out.insert(path);
  return out;
}

TEST(IsrfModel, VariantsHaveTheirParameters) {
  EXPECT_EQ(OwnPaths(Net(IsrfVariant::kPod).parameters),
            (std::set<std::string>{"prompt", "whole_word"}));
  EXPECT_EQ(OwnPaths(Net(IsrfVariant::kElmrec).parameters),
            (std::set<std::string>{"prompt", "whole_word", "nodes"}));
  EXPECT_EQ(OwnPaths(Net().parameters),
            (std::set<std::string>{"prompt", "whole_word", "user_nodes", "user_semantics",
                                   "adapter.w1", "adapter.b1", "adapter.w2", "adapter.b2"}));
}

// T5-small has 60,506,624 parameters; ISRF on it, on Beauty, 84.20 M.
TEST(IsrfModel, PublishedSizes) {
  constexpr int64_t kBeautyUsers = 22363, kBeautyItems = 12101;
  Csr empty;
  empty.columns = kBeautyUsers + kBeautyItems + 1;
  empty.offsets.assign(static_cast<size_t>(empty.columns) + 1, 0);
  Csr users;
  users.columns = kBeautyUsers + 1;
  users.offsets.assign(static_cast<size_t>(users.columns) + 1, 0);
  const IsrfInputs inputs{.users = kBeautyUsers,
                          .items = kBeautyItems,
                          .interactions = empty,
                          .user_graph = users,
                          .item_vectors = HostTensor::Zeros(DType::kF32, {kBeautyItems, 512})};
  const auto count = [&](IsrfVariant variant) {
    nn::Parameters parameters;
    const IsrfModel model(variant, Config(), lm::T5Config(), inputs, parameters);
    return parameters.Count();
  };
  const int64_t pod = 60506624 + 9 * 512 + 512 * 512;
  EXPECT_EQ(count(IsrfVariant::kPod), pod);
  EXPECT_EQ(count(IsrfVariant::kElmrec), pod + 34465 * 512);
  EXPECT_EQ(count(IsrfVariant::kIsrfCode), pod + 2 * 22364 * 512 + 525312);
  EXPECT_NEAR(static_cast<double>(count(IsrfVariant::kIsrfCode)) / 1e6, 84.20, 0.005);
  EXPECT_NEAR(static_cast<double>(count(IsrfVariant::kElmrec)) / 1e6, 78.42, 0.005);
}

// 6.8: the columns "init". Thousands of values each, so 5 % is more than six standard errors.
TEST(IsrfModel, InitialSpread) {
  IsrfInputs inputs = Inputs();
  inputs.item_vectors = HostTensor::Zeros(DType::kF32, {kItems, 64});
  const auto parameters_of = [&](IsrfVariant variant, double sigma) {
    nn::Parameters parameters(at::kDouble);
    lm::T5Config t5 = SmallT5();
    t5.d_model = 1024;
    IsrfConfig config = Config();
    config.set_sigma(sigma);
    IsrfModel(variant, config, t5, inputs, parameters).Initialise(1);
    return parameters;
  };
  const auto spread = [](const nn::Parameters& parameters, const char* path) {
    return parameters.Get(path).pow(2).mean().sqrt().item<double>();
  };
  const auto isrf = parameters_of(IsrfVariant::kIsrfCode, 5),
             pod = parameters_of(IsrfVariant::kPod, 5);
  EXPECT_NEAR(spread(isrf, "prompt"), 1, 0.05);
  EXPECT_NEAR(spread(isrf, "whole_word"), 1, 0.05);
  EXPECT_NEAR(spread(isrf, "user_nodes"), 5, 0.25);
  EXPECT_NEAR(spread(isrf, "user_semantics"), 5, 0.25);
  EXPECT_NEAR(spread(parameters_of(IsrfVariant::kElmrec, 6), "nodes"), 6, 0.3);
  EXPECT_NEAR(spread(pod, "prompt"), 0.1 / std::sqrt(3), 0.003);
  EXPECT_LE(pod.Get("prompt").abs().max().item<double>(), 0.1);
  for (const auto& [path, inputs_of] : {std::pair{"adapter.w1", 64},
                                        {"adapter.b1", 64},
                                        {"adapter.w2", 544},
                                        {"adapter.b2", 544}}) {
    EXPECT_NEAR(spread(isrf, path) * std::sqrt(3 * inputs_of), 1, 0.08) << path;
    EXPECT_LE(isrf.Get(path).abs().max().item<double>(), 1 / std::sqrt(inputs_of)) << path;
  }
  EXPECT_FALSE(isrf.Get("user_nodes").equal(isrf.Get("user_semantics")));
}

}  // namespace
}  // namespace whyrec::systems
