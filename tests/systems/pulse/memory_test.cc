// The memory plan of PULSE's scorer against counted shapes and against the bytes that training
// allocates.
#include "src/systems/pulse/memory.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "src/base/error.h"
#include "src/lm/lora.h"
#include "src/lm/packed_branches.h"
#include "src/lm/phi.h"
#include "src/nn/parameters.h"

namespace whyrec::systems {
namespace {

// Published sizes, counted over tensors that hold no memory and by the plan's arithmetic.
TEST(PulseMemory, ParameterCounts) {
  const lm::PhiConfig phi4;  // the published sizes
  nn::Parameters base(at::kBFloat16, at::kMeta);
  lm::Phi model(phi4, base);
  EXPECT_EQ(base.Count(), 3'836'021'760);
  EXPECT_EQ(BaseParameters(ShapeOf(phi4)), 3'836'021'760);
  config::ScorerConfig scorer;
  EXPECT_EQ(AdapterParameters(ShapeOf(phi4), scorer), 3'670'016);
  scorer.set_all_linear(true);
  EXPECT_EQ(AdapterParameters(ShapeOf(phi4), scorer), 11'534'336);
  nn::Parameters small(at::kFloat, at::kMeta), all(at::kFloat, at::kMeta);
  EXPECT_EQ(lm::Lora(model, {}, small).Count(), 3'670'016);
  nn::Parameters other(at::kBFloat16, at::kMeta);
  lm::Phi second(phi4, other);
  lm::LoraConfig linear;
  linear.targets = {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"};
  EXPECT_EQ(lm::Lora(second, linear, all).Count(), 11'534'336);
}

double Item(const MemoryPlan& plan, const std::string& name) {
  for (const auto& [item, bytes] : plan)
    if (item == name) return bytes;
  ADD_FAILURE() << "no item " << name;
  return 0;
}

// Phi-4-mini in bf16 with LoRA and recomputed layers: 8 users of 512 tokens on a card of 24 GB.
TEST(PulseMemory, ThePublishedTable) {
  config::RunConfig config;
  config.mutable_train()->set_micro_batch(8);
  const ModelShape shape = ShapeOf(lm::PhiConfig());
  const MemoryPlan plan = PlanMemory(config, shape, true, {.gpu = true});
  EXPECT_NEAR(Item(plan, "frozen weights"), 7.67e9, 0.01e9);
  EXPECT_NEAR(Item(plan, "trained weights, gradients, Adam"), 0.06e9, 0.005e9);
  EXPECT_NEAR(Item(plan, "inputs of the layers"), 0.81e9, 0.01e9);
  EXPECT_NEAR(Item(plan, "one layer, run again"), 0.61e9, 0.4e9);
  EXPECT_LT(Item(plan, "logits"), 0.01e9);
  EXPECT_LT(Item(plan, "total"), 12e9);
  EXPECT_GT(Item(PlanMemory(config, shape, false, {.gpu = true}), "total"), 20e9);
  for (const auto& [item, bytes] : plan) std::printf("%-45s %8.3f GB\n", item.c_str(), bytes / 1e9);
}

// The readings over lists: one text without a mask; w, or the letters' rows of the head.
TEST(PulseMemory, ListsAndLetters) {
  const ModelShape shape = ShapeOf(lm::PhiConfig());
  const auto plan = [&](config::ScorerConfig::Logit logit) {
    config::RunConfig config;
    config.mutable_train()->set_micro_batch(8);
    config.mutable_pulse()->mutable_scorer()->set_logit(logit);
    return PlanMemory(config, shape, true, {.gpu = true});
  };
  const std::string weights = "trained weights, gradients, Adam";
  const auto packed = plan(config::ScorerConfig::SCALAR_PACKED),
             spans = plan(config::ScorerConfig::SPAN_LISTWISE),
             letters = plan(config::ScorerConfig::LETTER);
  EXPECT_EQ(Item(spans, weights), Item(packed, weights));
  EXPECT_EQ(Item(packed, weights) - Item(letters, weights), 3072 * 16);
  EXPECT_LT(Item(letters, "logits"), 0.02e9);
  for (const auto* of : {&spans, &letters}) {
    EXPECT_LT(Item(*of, "total"), Item(packed, "total"));
    for (const auto& [item, bytes] : *of) EXPECT_NE(item, "masks");
  }
}

// Counts the bytes that tensors hold; a block's size stands before it.
class Counting final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    const size_t room = (n + 2 * kHead - 1) / kHead * kHead;
    char* block = static_cast<char*>(std::aligned_alloc(kHead, room));
    WR_CHECK(block, n, " bytes");
    *reinterpret_cast<int64_t*>(block) = static_cast<int64_t>(n);
    now += static_cast<int64_t>(n);
    int64_t most = peak;
    while (now > most && !peak.compare_exchange_weak(most, now)) {
    }
    return {block + kHead, block + kHead, &Release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Release; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }

  static inline std::atomic<int64_t> now{0}, peak{0};

 private:
  static constexpr size_t kHead = 64;
  static void Release(void* data) {
    char* block = static_cast<char*>(data) - kHead;
    now -= *reinterpret_cast<int64_t*>(block);
    std::free(block);
  }
};

struct Measured {
  double kept, peak;  // beyond the weights: before and during the backward pass
};

// One training pass over users of one length, in bytes.
Measured Pass(const lm::PhiConfig& sizes, at::ScalarType dtype, double dropout, bool recompute,
              int64_t users, const lm::PackedBranches& tree) {
  static Counting* counting = new Counting;
  c10::SetCPUAllocator(counting, 100);
  at::set_num_threads(1);
  nn::Parameters base(dtype), trained(at::kFloat);
  lm::Phi model(sizes, base);
  lm::LoraConfig config;
  config.modules_to_save = {"score"};
  config.dropout = dropout;
  lm::Lora lora(model, config, trained);
  for (const auto& [path, p] : base.all()) nn::Fill(p, path.ends_with("norm.weight") ? 1 : 0.01);
  lora.Initialise(1);
  model.RecomputeLayers(recompute);
  std::vector<at::Tensor> positions(static_cast<size_t>(users), lm::TreePositions(tree));
  const int64_t tokens = users * tree.tokens();
  std::vector<nn::RowRun> runs;
  for (int64_t user = 0; user < users; ++user) runs.push_back({user, tree.tokens()});
  const nn::RowKeys keys = nn::KeysOf(nn::DrawsOf(1, 0, 0, users), "scorer", runs, at::kCPU);
  const auto once = [&] {
    const int64_t start = counting->now;
    counting->peak = start;
    at::Tensor hidden = model.Hidden(at::ones({tokens}, at::kLong), at::cat(positions),
                                     lm::TreeAttention({static_cast<size_t>(users), tree}),
                                     tree.longest_path(), keys);
    const auto kept = static_cast<double>(counting->now - start);
    hidden.sum().backward();
    return Measured{kept, static_cast<double>(counting->peak - start)};
  };
  once();  // allocates the gradients
  return once();
}

// Two layers of a quarter of the width (CPUs without bf16 units took minutes for full width): the
// bytes of a token.
TEST(PulseMemory, TheFormulaAgainstCountedBytes) {
  lm::PhiConfig sizes;
  sizes.vocabulary = 512;
  sizes.layers = 2;
  sizes.width /= 4, sizes.inner /= 4, sizes.heads /= 4, sizes.key_heads /= 4;
  config::RunConfig config;
  auto& scorer = *config.mutable_pulse()->mutable_scorer();
  const lm::PackedBranches tree{.prefix = 28, .branches = {6, 6, 6, 6, 6, 6}};
  struct Case {
    bool half;
    double dropout;
    bool recompute;
  };
  for (const auto& [half, dropout, recompute] :
       {Case{true, 0, true}, Case{true, 0, false}, Case{true, 0.05, true}, Case{true, 0.05, false},
        Case{false, 0.05, false}}) {
    scorer.set_dropout(dropout);
    scorer.set_dtype(half ? config::ScorerConfig::BF16 : config::ScorerConfig::FP32);
    const Measured got =
        Pass(sizes, half ? at::kBFloat16 : at::kFloat, dropout, recompute, 1, tree);
    const MemoryPlan plan =
        PlanMemory(config, ShapeOf(sizes), recompute, {.users = 1, .tokens = tree.tokens()});
    const double kept = Item(plan, recompute ? "inputs of the layers" : "what the layers keep") +
                        Item(plan, "ends of the network");
    const double peak =
        kept + Item(plan, recompute ? "one layer, run again" : "gradients within a layer");
    const double tokens = static_cast<double>(tree.tokens());
    std::printf(
        "%s, dropout %.2f, recompute %d: kept %.0f, planned %.0f; peak %.0f, planned %.0f "
        "bytes a token\n",
        half ? "bf16" : "fp32", dropout, recompute, got.kept / tokens, kept / tokens,
        got.peak / tokens, peak / tokens);
    EXPECT_NEAR(got.peak / peak, 1, 0.15);
    EXPECT_NEAR(got.kept / kept, 1, 0.15);
  }
}

}  // namespace
}  // namespace whyrec::systems
