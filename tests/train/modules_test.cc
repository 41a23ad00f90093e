// One rank equals two, three and four for our networks in the training loop: a DistilBERT encoder
// with in-batch negatives of all ranks (InfoNCE), and LoRA adapters of a Phi whose causal loss is
// divided by the token count of all ranks. The reference is the run on one rank.
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <mutex>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/lm/bert.h"
#include "src/lm/lora.h"
#include "src/lm/phi.h"
#include "src/tensor/dist_ops.h"
#include "src/train/reducer.h"
#include "src/train/trainer.h"
#include "tests/golden/folder.h"
#include "tests/store/temporary.h"

namespace whyrec::train {
namespace {

using cluster::Communicator;
using config::TrainConfig;

constexpr int64_t kSteps = 50, kBatch = 7;  // no two, three or four ranks get equal shares

// Token ids of the global batch of a step, of unequal lengths.
std::vector<std::vector<int64_t>> Texts(const char* purpose, int64_t step, int64_t vocabulary) {
  std::vector<std::vector<int64_t>> texts;
  for (int64_t i = 0; i < kBatch; ++i) {
    Rng rng(3, purpose, static_cast<uint64_t>(step % 5), static_cast<uint64_t>(i));
    texts.emplace_back(static_cast<size_t>(rng.Between(4, 12)));
    for (int64_t& id : texts.back()) id = rng.Between(5, vocabulary - 1);
  }
  return texts;
}

std::vector<std::vector<int64_t>> Cut(const std::vector<std::vector<int64_t>>& all, Slice slice) {
  return {all.begin() + slice.begin, all.begin() + slice.end};
}

// Keeps the losses with all their digits.
class Module : public Trainable {
 public:
  explicit Module(Communicator& comm) : comm_(comm) {}
  int64_t steps_per_epoch() const override { return kSteps; }
  Validation Validate(int64_t) override { return {0, true, {}}; }
  StepLoss Loss(const Share& share) final {
    const StepLoss loss = Forward(share);
    own.resize(static_cast<size_t>(share.step) + 1);
    shared.resize(own.size());
    own.back() += loss.own.item<double>();
    if (loss.shared.defined()) shared.back() = loss.shared.item<double>();
    return loss;
  }

  std::vector<double> own, shared;  // by step

 protected:
  virtual StepLoss Forward(const Share& share) = 0;
  Communicator& comm_;
};

// Pairs of texts; each text's partner is to be nearer than the partners of all others.
class Encoder final : public Module {
 public:
  Encoder(Communicator& comm, at::ScalarType dtype)
      : Module(comm), parameters_(dtype), model_(Config(), parameters_) {
    model_.Load(kGolden / "bert/distilbert");
  }
  nn::Parameters& parameters() override { return parameters_; }

 protected:
  StepLoss Forward(const Share& share) override {
    const auto vectors = [&](const char* purpose) {
      const auto own = Cut(Texts(purpose, share.step, model_.config().vocabulary), share.rank);
      const at::Tensor pooled = model_.Forward(own, lm::Pooling::kMean, share.draws(3));
      return tensor::AllGatherGrad(lm::UnitRows(pooled), comm_);
    };
    const at::Tensor left = vectors("left"), right = vectors("right");
    const at::Tensor logits = at::matmul(left, right.t()) / 0.1;
    return {.own = at::zeros({}, logits.options()),
            .shared = at::cross_entropy_loss(logits, at::arange(kBatch)),
            .task = "contrastive"};
  }

 private:
  static lm::BertConfig Config() {
    lm::BertConfig config = lm::LoadBertConfig(kGolden / "bert/distilbert");
    config.head = lm::BertConfig::Head::kNone;
    return config;
  }
  nn::Parameters parameters_;
  lm::Bert model_;
};

class Adapters final : public Module {
 public:
  Adapters(Communicator& comm, at::ScalarType dtype, bool recompute)
      : Module(comm),
        base_(dtype),
        adapters_(dtype),
        model_(lm::LoadPhiConfig(kGolden / "phi"), base_),
        lora_(model_, {.dropout = 0.1}, adapters_) {
    model_.Load(kGolden / "phi");
    lora_.Initialise(1);
    model_.RecomputeLayers(recompute);
  }
  nn::Parameters& parameters() override { return adapters_; }

 protected:
  StepLoss Forward(const Share& share) override {
    const auto all = Texts("causal", share.step, 490);
    double tokens = 0;
    for (const auto& text : all) tokens += static_cast<double>(text.size() - 1);
    std::vector<int64_t> ids, targets, lengths;
    std::vector<at::Tensor> positions;
    std::vector<nn::RowRun> runs;
    for (const auto& text : Cut(all, {share.begin, share.end})) {
      ids.insert(ids.end(), text.begin(), text.end() - 1);
      targets.insert(targets.end(), text.begin() + 1, text.end());
      lengths.push_back(std::ssize(text) - 1);
      runs.push_back({std::ssize(runs), lengths.back()});
      positions.push_back(at::arange(lengths.back()));
    }
    const at::Tensor hidden =
        model_.Hidden(at::tensor(ids), at::cat(positions), lm::CausalAttention(lengths), 12,
                      nn::KeysOf(share.draws(3), "phi", runs, at::kCPU));
    return {.own = model_.CausalLoss(hidden, at::tensor(targets)).sum / tokens,
            .shared = {},
            .task = "causal"};
  }

 private:
  nn::Parameters base_, adapters_;
  lm::Phi model_;
  lm::Lora lora_;
};

using Make = std::function<std::unique_ptr<Module>(Communicator&)>;

struct Trained {
  std::vector<double> losses;
  std::vector<std::pair<std::string, at::Tensor>> last;  // parameters
};

std::vector<std::pair<std::string, at::Tensor>> Copies(const nn::Parameters& parameters) {
  std::vector<std::pair<std::string, at::Tensor>> out;
  for (const auto& [path, p] : parameters.all())
    if (p.requires_grad()) out.emplace_back(path, p.detach().to(at::kDouble, false, /*copy=*/true));
  return out;
}

Trained TrainOn(int ranks, const Make& make, int micro_batch) {
  SetProgressMode(ProgressMode::kNone);
  at::set_num_threads(1);
  TrainConfig config;
  config.set_steps(kSteps);
  config.set_learning_rate(1e-3);
  config.set_patience_rule(TrainConfig::CONSECUTIVE);
  config.set_global_batch(kBatch);
  config.set_micro_batch(micro_batch);
  config.set_bucket_mb(1);
  Temporary folder;
  Trained out;
  std::mutex mutex;
  cluster::RunThreads(ranks, [&](Communicator& comm) {
    const auto module = make(comm);
    train::Run(*module, config, folder.path(), comm);
    std::lock_guard lock(mutex);
    out.losses.resize(kSteps);
    for (size_t step = 0; step < kSteps; ++step)
      out.losses[step] += module->own[step] + (comm.rank() == 0 ? module->shared[step] : 0);
    if (comm.rank() != 0) return;
    out.last = Copies(module->parameters());
  });
  return out;
}

// Losses relative to their size; parameters as the largest entry in fp64, else per tensor in norm.
struct Distance {
  double loss = 0, parameter = 0;
  std::string worst;
};

Distance Compare(const Trained& a, const Trained& b, bool in_norm) {
  Distance d;
  for (size_t step = 0; step < kSteps; ++step)
    d.loss = std::max(d.loss, std::abs(a.losses[step] - b.losses[step]) / std::abs(a.losses[step]));
  for (size_t i = 0; i < a.last.size(); ++i) {
    // A bias of keys moves all scores of a query alike: its gradient is 0 but for rounding, which
    // Adam enlarges. Nothing depends on it; fp64 compares it too.
    if (in_norm && a.last[i].first.ends_with("k_lin.bias")) continue;
    const at::Tensor difference = a.last[i].second - b.last[i].second;
    const double far = in_norm ? (difference.norm() / a.last[i].second.norm()).item<double>()
                               : difference.abs().max().item<double>();
    if (!(far > d.parameter)) continue;
    d.parameter = far;
    d.worst = a.last[i].first;
  }
  return d;
}

struct Case {
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
  std::string name;
  std::function<std::unique_ptr<Module>(Communicator&, at::ScalarType)> make;
  std::vector<int> micro_batches;
};

class Modules : public testing::TestWithParam<Case> {};

void Expect(const Case& module, at::ScalarType dtype) {
  const Make make = [&](Communicator& comm) { return module.make(comm, dtype); };
  const bool in_norm = dtype == at::kFloat;
  const Trained one = TrainOn(1, make, 0);
  EXPECT_LT(one.losses.back(), one.losses.front() * 0.97) << "nothing is learnt";
  for (const int micro_batch : module.micro_batches)
    for (const int ranks : {1, 2, 3, 4}) {
      if (ranks == 1 && micro_batch == 0) continue;
      const Distance d = Compare(one, TrainOn(ranks, make, micro_batch), in_norm);
      std::printf("%s %s, %d ranks, micro-batch %d: loss %.1e, parameters %.1e (%s)\n",
                  module.name.c_str(), c10::toString(dtype), ranks, micro_batch, d.loss,
                  d.parameter, d.worst.c_str());
      EXPECT_LT(d.loss, in_norm ? 1e-5 : 1e-9) << ranks << " ranks";
      EXPECT_LT(d.parameter, in_norm ? 1e-4 : 1e-9) << ranks << " ranks: " << d.worst;
    }
}

TEST_P(Modules, EqualInFp64) { Expect(GetParam(), at::kDouble); }
TEST_P(Modules, EqualInFp32) { Expect(GetParam(), at::kFloat); }

INSTANTIATE_TEST_SUITE_P(
    Ranks, Modules,
    testing::Values(Case{"Encoder",
                         [](Communicator& comm, at::ScalarType dtype) {
                           return std::make_unique<Encoder>(comm, dtype);
                         },
                         {0}},
                    Case{"Adapters",
                         [](Communicator& comm, at::ScalarType dtype) {
                           return std::make_unique<Adapters>(comm, dtype, false);
                         },
                         {0, 2}},
                    // Layers that are run again bring gradients from passes within the pass.
                    Case{"AdaptersRecomputed",
                         [](Communicator& comm, at::ScalarType dtype) {
                           return std::make_unique<Adapters>(comm, dtype, true);
                         },
                         {2}}),
    [](const auto& info) { return info.param.name; });

TEST(Trainer, ASystemThatCannotSplitItsBatchSaysSo) {
  struct Whole final : Trainable {
    nn::Parameters none;
    nn::Parameters& parameters() override { return none; }
    int64_t steps_per_epoch() const override { return 1; }
    StepLoss Loss(const Share&) override { return {.own = {}, .shared = {}, .task = "whole"}; }
    bool splits() const override { return false; }
    Validation Validate(int64_t) override { return {}; }
  } whole;
  TrainConfig config;
  config.set_micro_batch(2);
  Temporary folder;
  const auto comm = cluster::MakeSelf();
  try {
    train::Run(whole, config, folder.path(), *comm);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::kUsage);
  }
}

TEST(Trainer, MoreRanksThanSamplesAreRefused) {
  TrainConfig config;
  config.set_global_batch(2);
  Temporary folder;
  cluster::RunThreads(3, [&](Communicator& comm) {
    Encoder model(comm, at::kFloat);
    EXPECT_THROW(train::Run(model, config, folder.path(), comm), Error);
  });
}

}  // namespace
}  // namespace whyrec::train
