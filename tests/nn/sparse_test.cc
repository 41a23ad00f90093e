// Sparse products and layer means against dense ones.
#include "src/nn/sparse.h"

#include <ATen/Parallel.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/graph/graphs.h"
#include "src/graph/local_graph.h"

namespace whyrec::nn {
namespace {

at::Tensor Dense(const Csr& a) {
  at::Tensor out = at::zeros({a.rows(), a.columns}, at::kDouble);
  for (int64_t row = 0; row < a.rows(); ++row)
    for (int64_t k = a.offsets[static_cast<size_t>(row)];
         k < a.offsets[static_cast<size_t>(row) + 1]; ++k)
      out.data_ptr<double>()[row * a.columns + a.indices[static_cast<size_t>(k)]] +=
          a.Weight(row, k);
  return out;
}

enum Parts { kValues = 1, kRowScale = 2, kColumnScale = 4 };

// Degrees from 0 to `columns`, repeated columns included.
Csr MakeRandom(int64_t rows, int64_t columns, int parts = kValues) {
  Rng rng(1, "sparse");
  Csr out;
  out.columns = columns;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = rng.Between(0, row % 5 == 0 ? columns : 2); k > 0; --k) {
      out.indices.push_back(static_cast<int32_t>(rng.Below(static_cast<uint64_t>(columns))));
      if (parts & kValues) out.values.push_back(static_cast<float>(rng.Normal()));
    }
    out.offsets.push_back(out.entries());
  }
  if (parts & kRowScale)
    for (int64_t row = 0; row < rows; ++row) out.row_scale.push_back(rng.Normal());
  if (parts & kColumnScale)
    for (int64_t column = 0; column < columns; ++column) out.column_scale.push_back(rng.Normal());
  return out;
}

// Widths within a block of the kernel, of one, of a panel, and of panels with a rest.
constexpr int64_t kWidths[] = {1, 19, 32, 64, 100, 192};

TEST(SparseOperator, ProductAndGradientEqualTheDenseOnes) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>(40, 17), {3, 300}, {1, 1}}) {
    for (int parts = 0; parts < 8; ++parts) {
      const Csr m = MakeRandom(rows, columns, parts);
      const at::Tensor dense = Dense(m);
      const SparseOperator a(m, false);
      for (const int64_t width : kWidths) {
        for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
          const double tolerance = type == at::kFloat ? 1e-4 : 1e-12;
          const at::Tensor x = at::randn({columns, width}, type).set_requires_grad(true);
          const at::Tensor out = a.Multiply(x), weight = at::randn({rows, width}, type);
          EXPECT_TRUE(at::allclose(out, at::mm(dense.to(type), x), 1e-5, tolerance));
          (out * weight).sum().backward();
          EXPECT_TRUE(at::allclose(x.grad(), at::mm(dense.t().to(type), weight), 1e-5, tolerance));
        }
      }
    }
  }
}

at::Tensor DenseMean(const at::Tensor& a, const at::Tensor& x, int64_t layers) {
  at::Tensor layer = x, sum = x;
  for (int64_t l = 0; l < layers; ++l) sum = sum + (layer = at::mm(a, layer));
  return sum / static_cast<double>(layers + 1);
}

double Far(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Scaled to norm 1 or less, so that layers neither grow nor vanish.
Csr Contraction(int64_t n, int parts) {
  Csr out = MakeRandom(n, n, parts | kRowScale);
  const double norm = Dense(out).abs().sum(1).max().item<double>();
  for (double& scale : out.row_scale) scale /= norm;
  return out;
}

TEST(SparseOperator, LayerMeanAndGradientEqualTheDenseOnes) {
  double far = 0, far_single = 0, far_half = 0;
  for (const int parts : {0, static_cast<int>(kColumnScale), kValues | kColumnScale}) {
    const Csr m = Contraction(40, parts);
    const at::Tensor dense = Dense(m);
    const SparseOperator a(m, false), half(m, false, LayerStorage::kBF16);
    for (const int64_t width : kWidths) {
      for (const int64_t layers : {0, 1, 3}) {
        const at::Tensor x = at::randn({40, width}, at::kDouble).set_requires_grad(true);
        const at::Tensor weight = at::randn({40, width}, at::kDouble);
        const at::Tensor want = DenseMean(dense, x, layers).detach();
        const at::Tensor back = DenseMean(dense.t(), weight, layers);
        const auto check = [&](const SparseOperator& op, at::ScalarType type, double& furthest) {
          const at::Tensor in = x.detach().to(type).set_requires_grad(true);
          const at::Tensor out = op.LayerMean(in, layers);
          (out * weight.to(type)).sum().backward();
          furthest = std::max({furthest, Far(out, want), Far(in.grad(), back)});
        };
        check(a, at::kDouble, far);
        check(a, at::kFloat, far_single);
        check(half, at::kFloat, far_half);
      }
    }
  }
  EXPECT_LT(far, 1e-14);
  EXPECT_LT(far_single, 1e-6);
  EXPECT_LT(far_half, 2e-2);
  EXPECT_GT(far_half, 1e-4) << "layers were kept in fp32";
  std::printf("  layer means: fp64 %.1e, fp32 %.1e, bf16 layers %.1e\n", far, far_single, far_half);
}

// Products and sums are rounded one by one, whatever vector width the CPU has.
TEST(SparseOperator, RoundsAlikeOnEveryCpu) {
  constexpr int64_t kRows = 30, kColumns = 50, kWidth = 101;
  const Csr m = MakeRandom(kRows, kColumns);
  const SparseOperator a(m, false);
  const at::Tensor x = at::randn({kColumns, kWidth}), out = a.Multiply(x);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t j = 0; j < kWidth; ++j) {
      float sum = 0;
      for (auto k = static_cast<size_t>(m.offsets[static_cast<size_t>(row)]);
           k < static_cast<size_t>(m.offsets[static_cast<size_t>(row) + 1]); ++k) {
        const volatile float product =
            m.values[k] * x.const_data_ptr<float>()[m.indices[k] * kWidth + j];
        sum += product;
      }
      ASSERT_EQ(out.const_data_ptr<float>()[row * kWidth + j], sum) << row << ", " << j;
    }
  }
}

// The way of other devices against the CPU's own kernel: interaction graphs (symmetric, their first
// row is empty) and user graphs (not symmetric), of a made-up shop and of sizes at the border.
TEST(SparseOperator, OperatorsOfOtherDevicesGiveTheSame) {
  struct Shape {
    int64_t users, items, events, neighbours;
  };
  double far = 0, far_single = 0;
  for (const Shape& shape : {Shape{300, 120, 8, 10}, Shape{40, 900, 3, 5}, Shape{2, 1, 1, 1}}) {
    Rng rng(1, "graphs");
    Ragged<int64_t> histories;
    std::vector<int32_t> neighbours;
    for (int64_t user = 0; user < shape.users; ++user) {
      std::vector<int64_t> items(static_cast<size_t>(rng.Between(1, shape.events)));
      for (int64_t& item : items)
        item = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(shape.items)));
      histories.Append(items);
      for (int64_t k = 1; k <= shape.neighbours; ++k)
        neighbours.push_back(static_cast<int32_t>((user + k * k) % shape.users));
    }
    const auto check = [&](const Csr& a, bool symmetric) {
      const SparseOperator op(a, symmetric);
      for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
        const at::Tensor x = at::randn({a.columns, 16}, type).set_requires_grad(true);
        const at::Tensor y = x.detach().clone().set_requires_grad(true);
        const at::Tensor weight = at::randn({std::ssize(a.offsets) - 1, 16}, type);
        const at::Tensor own = op.Multiply(x), other = op.MultiplyByOperators(y);
        (own * weight).sum().backward();
        (other * weight).sum().backward();
        double& furthest = type == at::kDouble ? far : far_single;
        furthest = std::max({furthest, Far(own, other), Far(x.grad(), y.grad()),
                             Far(op.LayerMean(x, 3), op.LayerMeanByOperators(x, 3))});
      }
    };
    check(graph::InteractionGraph(histories, shape.items), true);
    check(graph::UserGraph(HostTensor::From(neighbours, {shape.users, shape.neighbours})), false);
  }
  const SparseOperator op(MakeRandom(40, 17), false);  // empty rows, columns twice in a row
  const at::Tensor x = at::randn({17, 5}, at::kDouble);
  far = std::max(far, Far(op.Multiply(x), op.MultiplyByOperators(x)));
  EXPECT_LT(far, 1e-13);
  EXPECT_LT(far_single, 1e-5);
  std::printf("  CSR tensors: fp64 %.1e, fp32 %.1e\n", far, far_single);
}

TEST(SparseOperator, DoesNotDependOnThreads) {
  const SparseOperator a(MakeRandom(1000, 50), false), mean(Contraction(300, 0), false);
  const at::Tensor x = at::randn({50, 133}), y = at::randn({300, 133});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = a.Multiply(x), one_mean = mean.LayerMean(y, 3);
  at::set_num_threads(3);
  EXPECT_TRUE(at::equal(one, a.Multiply(x)));
  EXPECT_TRUE(at::equal(one_mean, mean.LayerMean(y, 3)));
  at::set_num_threads(before);
}

TEST(SparseOperator, RefusesBrokenMatrices) {
  EXPECT_THROW(SparseOperator({.columns = 3, .offsets = {0, 1}, .indices = {3}}, false), Error);
  EXPECT_THROW(SparseOperator({.columns = 3, .offsets = {0, 2}, .indices = {1}}, false), Error);
  EXPECT_THROW(
      SparseOperator({.columns = 1, .offsets = {0, 1}, .indices = {0}, .row_scale = {1, 1}}, false),
      Error);
}

// Two parts that bring each other's rows before each product make up the whole.
TEST(SparseOperator, PartsGiveTheLayerMeanOfTheWhole) {
  constexpr int64_t kRows = 30, kFirst = 13, kLayers = 3;
  Ragged<int64_t> histories;
  for (int64_t u = 0; u < 18; ++u) histories.Append(std::vector<int64_t>{u % 11, (3 * u) % 11});
  const Csr whole = graph::InteractionGraph(histories, 11);
  ASSERT_EQ(whole.rows(), kRows);
  std::vector<int32_t> owner(kRows);
  for (int32_t node = 0; node < kRows; ++node) owner[static_cast<size_t>(node)] = node >= kFirst;
  const NodeMap map = MakeNodeMap(owner, 2);
  for (const auto& [type, storage, bound] :
       {std::tuple(at::kDouble, LayerStorage::kAsOperand, 1e-15),
        {at::kFloat, LayerStorage::kAsOperand, 1e-7},
        {at::kFloat, LayerStorage::kBF16, 0.0}}) {
    const at::Tensor x = at::randn({kRows, 70}, type);
    const at::Tensor want = SparseOperator(whole, true, storage).LayerMean(x, kLayers);
    // Each part's operands of every product, which the other one reads: 2 panels x 3 layers.
    std::vector<std::vector<at::Tensor>> sent(2);
    std::vector<at::Tensor> means(2);
    for (int round = 0; round < 2 * kLayers + 1; ++round) {  // one operand more is right each time
      for (int part = 0; part < 2; ++part) {
        const graph::LocalGraph local = graph::Localise(whole, map, part);
        const auto& other = sent[static_cast<size_t>(1 - part)];
        std::vector<at::Tensor> own;
        means[static_cast<size_t>(part)] =
            SparseOperator(local.matrix, true, storage)
                .PartLayerMean(x.narrow(0, part * kFirst, part ? kRows - kFirst : kFirst), kLayers,
                               [&](const at::Tensor& mine, const at::Tensor& others) {
                                 const size_t at = own.size();
                                 own.push_back(mine.clone());
                                 at::Tensor(others).zero_();
                                 if (at >= other.size()) return;
                                 std::vector<int64_t> rows;
                                 for (const Place& place : local.halo) rows.push_back(place.row);
                                 at::Tensor(others).copy_(
                                     other[at].index_select(0, at::tensor(rows, at::kLong)));
                               });
        sent[static_cast<size_t>(part)] = own;
      }
    }
    EXPECT_LE(Far(at::cat({means[0], means[1]}), want), bound);
  }
}

// A node without edges, and a graph without any: what is left is the start divided by L + 1.
TEST(SparseOperator, NodesWithoutEdges) {
  const SparseOperator none({.columns = 3, .offsets = {0, 0, 0, 0}}, true);
  const at::Tensor x = at::randn({3, 70}, at::kDouble);
  EXPECT_LT(Far(none.LayerMean(x, 2), x / 3), 1e-15);
  const SparseOperator empty({.columns = 0}, true);
  EXPECT_EQ(empty.LayerMean(at::zeros({0, 5}), 2).numel(), 0);
}

// Users 1, 2, items 3, 4; edges 1-3, 1-4, 2-4. Node 0 is isolated: its row divided by L + 1.
TEST(LayerMean, ToyGraph) {
  const double half = 0.5, root = std::sqrt(0.5);
  const std::vector<double> scale = {0, root, 1, 1, root};
  const SparseOperator a({.columns = 5,
                          .offsets = {0, 0, 2, 3, 4, 6},
                          .indices = {3, 4, 4, 1, 1, 2},
                          .row_scale = scale,
                          .column_scale = scale},
                         true);
  at::Tensor dense = at::zeros({5, 5}, at::kDouble);
  const auto set = [&](int64_t i, int64_t j, double w) {
    dense.data_ptr<double>()[i * 5 + j] = dense.data_ptr<double>()[j * 5 + i] = w;
  };
  set(1, 3, root);
  set(1, 4, half);
  set(2, 4, root);
  const at::Tensor x = at::randn({5, 8}, at::kDouble).set_requires_grad(true);
  const at::Tensor out = a.LayerMean(x, 2);
  const at::Tensor ax = at::mm(dense, x), aax = at::mm(dense, ax);
  EXPECT_TRUE(at::allclose(out, (x + ax + aax) / 3, 0, 1e-12));
  EXPECT_TRUE(at::allclose(out[0], x[0] / 3, 0, 1e-12));
  const at::Tensor weight = at::randn({5, 8}, at::kDouble);
  (out * weight).sum().backward();
  const at::Tensor aw = at::mm(dense, weight);
  EXPECT_TRUE(at::allclose(x.grad(), (weight + aw + at::mm(dense, aw)) / 3, 0, 1e-12));
  EXPECT_TRUE(at::equal(a.LayerMean(x, 0), x));
}

}  // namespace
}  // namespace whyrec::nn
