// A tree of tokens against its paths read as sequences of their own, and losses by row against the
// plain cross-entropy over all logits.
#include "src/lm/packed_branches.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "src/base/rng.h"

namespace whyrec::lm {
namespace {

using Ids = std::vector<int64_t>;

struct Tree {
  Ids prefix;
  std::vector<Ids> branches;
};

Ids Draw(Rng& rng, int64_t n) {
  Ids ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(rng.Between(2, 199));
  return ids;
}

const std::vector<Tree>& Trees() {
  static const std::vector<Tree> trees = [] {
    Rng rng(5, "trees");
    return std::vector<Tree>{
        {Draw(rng, 9), {Draw(rng, 4), Draw(rng, 1), Draw(rng, 7)}},
        {Draw(rng, 3), {Draw(rng, 5)}},
        {Draw(rng, 12), {Draw(rng, 2), Draw(rng, 2), Draw(rng, 3), Draw(rng, 6)}}};
  }();
  return trees;
}

struct TinyPhi {
  explicit TinyPhi(at::ScalarType dtype, bool tied = true)
      : parameters(dtype), model(Config(tied), parameters, "", true) {
    at::set_num_threads(1);
    model.Initialise(3);
  }
  static PhiConfig Config(bool tied) {
    return {.vocabulary = 200,
            .width = 32,
            .inner = 48,
            .layers = 2,
            .heads = 4,
            .key_heads = 2,
            .positions = 64,
            .original_positions = 64,
            .tied_head = tied,
            .bos = 0,
            .pad = 0,
            .eos = {0}};
  }

  at::Tensor Packed(const std::vector<Tree>& trees) const {
    std::vector<PackedBranches> shapes;
    std::vector<at::Tensor> positions;
    Ids ids;
    int64_t longest = 0;
    for (const auto& [prefix, branches] : trees) {
      PackedBranches shape{.prefix = std::ssize(prefix)};
      ids.insert(ids.end(), prefix.begin(), prefix.end());
      for (const Ids& branch : branches) {
        ids.insert(ids.end(), branch.begin(), branch.end());
        shape.branches.push_back(std::ssize(branch));
      }
      positions.push_back(TreePositions(shape));
      longest = std::max(longest, shape.longest_path());
      shapes.push_back(shape);
    }
    return model.Hidden(at::tensor(ids), at::cat(positions), TreeAttention(shapes), longest);
  }
  // The rows of Packed, from one sequence for each path.
  at::Tensor Separate(const std::vector<Tree>& trees) const {
    std::vector<at::Tensor> rows;
    for (const auto& [prefix, branches] : trees) {
      for (size_t k = 0; k < branches.size(); ++k) {
        Ids path = prefix;
        path.insert(path.end(), branches[k].begin(), branches[k].end());
        const int64_t n = std::ssize(path), first = std::ssize(prefix);
        const at::Tensor hidden =
            model.Hidden(at::tensor(path), at::arange(n), CausalAttention({n}), n);
        if (k == 0) rows.push_back(hidden.narrow(0, 0, first));
        rows.push_back(hidden.narrow(0, first, n - first));
      }
    }
    return at::cat(rows);
  }

  nn::Parameters parameters;
  Phi model;
};

// In units of the entries, most of which are about 1.
double AbsoluteDifference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

TEST(PackedBranches, PathsAreSequencesOfTheirOwn) {
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-12}, {at::kFloat, 1e-5}, {at::kBFloat16, 0.05}}) {
    const TinyPhi network(dtype);
    const double far = AbsoluteDifference(network.Packed(Trees()), network.Separate(Trees()));
    EXPECT_LT(far, tolerance) << dtype;
    RecordProperty(at::toString(dtype), std::to_string(far));
  }
}

TEST(PackedBranches, GradientsToo) {
  std::vector<at::Tensor> gradients[2];
  for (int packed = 0; packed < 2; ++packed) {
    const TinyPhi network(at::kDouble);
    const at::Tensor rows = packed ? network.Packed(Trees()) : network.Separate(Trees());
    // Rows of the prefix stand once in either form; weights make them differ.
    const at::Tensor weights = at::arange(rows.numel(), rows.options()).view_as(rows).sin();
    (rows * weights).sum().backward();
    for (const auto& [path, p] : network.parameters.all()) gradients[packed].push_back(p.grad());
  }
  for (size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_LT(AbsoluteDifference(gradients[0][i], gradients[1][i]),
              1e-9 * std::max(1.0, gradients[0][i].abs().max().item<double>()));
}

TEST(PackedBranches, TheOrderOfBranchesDoesNotMatter) {
  const TinyPhi network(at::kDouble);
  std::vector<Tree> turned = Trees();
  std::reverse(turned[0].branches.begin(), turned[0].branches.end());
  const at::Tensor a = network.Packed(Trees()), b = network.Packed(turned);
  // Branches of 4, 1 and 7 tokens behind 9; turned 7, 1 and 4.
  EXPECT_LT(AbsoluteDifference(a.narrow(0, 9, 4), b.narrow(0, 17, 4)), 1e-12);
  EXPECT_LT(AbsoluteDifference(a.narrow(0, 13, 1), b.narrow(0, 16, 1)), 1e-12);
  EXPECT_LT(AbsoluteDifference(a.narrow(0, 14, 7), b.narrow(0, 9, 7)), 1e-12);
}

TEST(PackedBranches, EmptyBranchesAndPlainSequences) {
  const PackedBranches tree{.prefix = 3, .branches = {0, 2}};
  EXPECT_EQ(tree.tokens(), 5);
  EXPECT_EQ(tree.longest_path(), 5);
  EXPECT_EQ(TreeMask(tree).sum().item<int64_t>(), 6 + 2 * 3 + 3);
  EXPECT_EQ(TreePositions({.prefix = 2, .branches = {1, 2}}).sum().item<int64_t>(), 1 + 2 + 5);
}

// Values and gradients of the loss by blocks, for a head that is frozen, trained, or tied.
TEST(PhiLoss, BlocksAreTheWholeCrossEntropy) {
  for (const bool tied : {true, false}) {
    std::vector<at::Tensor> gradients[3];
    double values[3];
    for (int form = 0; form < 3; ++form) {
      const TinyPhi network(at::kDouble, tied);
      const at::Tensor hidden = network.Packed(Trees());
      const at::Tensor targets = at::arange(hidden.size(0)) % 50;
      at::Tensor loss;
      if (form == 0)
        loss =
            at::cross_entropy_loss(network.model.Logits(hidden), targets, {}, at::Reduction::Sum);
      else if (form == 1)
        loss = network.model.CausalLoss(hidden, targets, 7).sum;
      else
        loss = network.model.TokenLosses(hidden, targets, 7).sum();
      (loss * 0.5).backward();
      values[form] = loss.item<double>();
      for (const auto& [path, p] : network.parameters.all()) gradients[form].push_back(p.grad());
    }
    for (int form : {1, 2}) {
      EXPECT_NEAR(values[form], values[0], 1e-9);
      for (size_t i = 0; i < gradients[0].size(); ++i)
        EXPECT_LT(AbsoluteDifference(gradients[form][i], gradients[0][i]), 1e-10);
    }
  }
}

// Rows weighted unequally, under a frozen head.
TEST(PhiLoss, RowLossesUnderAFrozenHead) {
  at::Tensor gradients[2];
  for (int ours = 0; ours < 2; ++ours) {
    nn::Parameters parameters(at::kDouble);
    Phi model(TinyPhi::Config(true), parameters);
    model.Initialise(3);
    Rng rng(5, "rows");
    std::vector<double> values(20 * 32);
    for (double& v : values) v = rng.Normal();
    at::Tensor hidden = at::tensor(values).view({20, 32}).set_requires_grad(true);
    const at::Tensor targets = at::arange(20), weights = at::arange(20, hidden.options()).cos();
    const at::Tensor losses =
        ours ? model.TokenLosses(hidden, targets, 6)
             : at::cross_entropy_loss(model.Logits(hidden), targets, {}, at::Reduction::None);
    (losses * weights).sum().backward();
    gradients[ours] = hidden.grad();
  }
  EXPECT_LT(AbsoluteDifference(gradients[0], gradients[1]), 1e-12);
}

}  // namespace
}  // namespace whyrec::lm
