// Sparse products against dense ones.
#include "src/nn/sparse.h"

#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/rng.h"
#include "src/graph/csr.h"

namespace whyrec::nn {
namespace {

struct Random {
  HostTensor offsets, indices, weights;
  at::Tensor dense;
};

// Degrees from 0 to `columns`, repeated columns included.
Random MakeRandom(int64_t rows, int64_t columns) {
  Rng rng(1, "sparse");
  std::vector<int64_t> offsets = {0}, indices;
  std::vector<float> weights;
  at::Tensor dense = at::zeros({rows, columns}, at::kDouble);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = rng.Between(0, row % 5 == 0 ? columns : 2); k > 0; --k) {
      indices.push_back(static_cast<int64_t>(rng.Below(static_cast<uint64_t>(columns))));
      weights.push_back(static_cast<float>(rng.Normal()));
      dense.data_ptr<double>()[row * columns + indices.back()] += weights.back();
    }
    offsets.push_back(static_cast<int64_t>(indices.size()));
  }
  const auto n = static_cast<int64_t>(indices.size());
  return {HostTensor::From(offsets, {rows + 1}), HostTensor::From(indices, {n}),
          HostTensor::From(weights, {n}), dense};
}

TEST(SparseOperator, ProductAndGradientEqualTheDenseOnes) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>(40, 17), {3, 300}, {1, 1}}) {
    const Random m = MakeRandom(rows, columns);
    const SparseOperator a(m.offsets, m.indices, m.weights, columns, false);
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      const double tolerance = type == at::kFloat ? 1e-4 : 1e-12;
      const at::Tensor x = at::randn({columns, 19}, type).set_requires_grad(true);
      const at::Tensor out = a.Multiply(x), weight = at::randn({rows, 19}, type);
      EXPECT_TRUE(at::allclose(out, at::mm(m.dense.to(type), x), 1e-5, tolerance));
      (out * weight).sum().backward();
      EXPECT_TRUE(at::allclose(x.grad(), at::mm(m.dense.t().to(type), weight), 1e-5, tolerance));
    }
  }
}

// Products and sums are rounded one by one, whatever vector width the CPU has.
TEST(SparseOperator, RoundsAlikeOnEveryCpu) {
  constexpr int64_t kRows = 30, kColumns = 50, kWidth = 37;
  const Random m = MakeRandom(kRows, kColumns);
  const SparseOperator a(m.offsets, m.indices, m.weights, kColumns, false);
  const at::Tensor x = at::randn({kColumns, kWidth}), out = a.Multiply(x);
  const auto from = m.offsets.values<int64_t>(), to = m.indices.values<int64_t>();
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t j = 0; j < kWidth; ++j) {
      float sum = 0;
      for (auto k = static_cast<size_t>(from[row]); k < static_cast<size_t>(from[row + 1]); ++k) {
        const volatile float product =
            m.weights.values<float>()[k] * x.const_data_ptr<float>()[to[k] * kWidth + j];
        sum += product;
      }
      ASSERT_EQ(out.const_data_ptr<float>()[row * kWidth + j], sum) << row << ", " << j;
    }
  }
}

double Far(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

// The way of other devices against the CPU's own kernel: interaction graphs (symmetric, their first
// row is empty) and user graphs (not symmetric), of a made-up shop and of sizes at the border.
TEST(SparseOperator, OperatorsOfOtherDevicesGiveTheSame) {
  struct Shape {
    int64_t users, items, events, neighbours;
  };
  double far = 0, far_single = 0;
  for (const Shape& shape : {Shape{300, 120, 8, 10}, Shape{40, 900, 3, 5}, Shape{2, 1, 1, 1}}) {
    Rng rng(1, "graphs");
    store::Ragged<int64_t> histories;
    std::vector<int32_t> neighbours;
    for (int64_t user = 0; user < shape.users; ++user) {
      std::vector<int64_t> items(static_cast<size_t>(rng.Between(1, shape.events)));
      for (int64_t& item : items)
        item = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(shape.items)));
      histories.Append(items);
      for (int64_t k = 1; k <= shape.neighbours; ++k)
        neighbours.push_back(static_cast<int32_t>((user + k * k) % shape.users));
    }
    const auto check = [&](const graph::Csr& a, bool symmetric) {
      const auto flat = [](const auto& list) { return HostTensor::From(list, {std::ssize(list)}); };
      const SparseOperator op(flat(a.offsets), flat(a.indices), flat(a.weights), a.columns,
                              symmetric);
      for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
        const at::Tensor x = at::randn({a.columns, 16}, type).set_requires_grad(true);
        const at::Tensor y = x.detach().clone().set_requires_grad(true);
        const at::Tensor weight = at::randn({std::ssize(a.offsets) - 1, 16}, type);
        const at::Tensor own = op.Multiply(x), other = op.MultiplyByOperators(y);
        (own * weight).sum().backward();
        (other * weight).sum().backward();
        double& furthest = type == at::kDouble ? far : far_single;
        furthest = std::max({furthest, Far(own, other), Far(x.grad(), y.grad())});
      }
    };
    check(graph::InteractionGraph(histories, shape.items), true);
    check(graph::UserGraph(HostTensor::From(neighbours, {shape.users, shape.neighbours})), false);
  }
  const Random rough = MakeRandom(40, 17);  // empty rows, columns twice in a row
  const SparseOperator op(rough.offsets, rough.indices, rough.weights, 17, false);
  const at::Tensor x = at::randn({17, 5}, at::kDouble);
  far = std::max(far, Far(op.Multiply(x), op.MultiplyByOperators(x)));
  EXPECT_LT(far, 1e-13);
  EXPECT_LT(far_single, 1e-5);
  std::printf("  CSR tensors: fp64 %.1e, fp32 %.1e\n", far, far_single);
}

TEST(SparseOperator, DoesNotDependOnThreads) {
  const Random m = MakeRandom(1000, 50);
  const SparseOperator a(m.offsets, m.indices, m.weights, 50, false);
  const at::Tensor x = at::randn({50, 33});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = a.Multiply(x);
  at::set_num_threads(3);
  EXPECT_TRUE(at::equal(one, a.Multiply(x)));
  at::set_num_threads(before);
}

TEST(SparseOperator, RefusesIndicesOutside) {
  EXPECT_THROW(
      SparseOperator(HostTensor::From<int64_t>({0, 1}, {2}), HostTensor::From<int64_t>({3}, {1}),
                     HostTensor::From<float>({1}, {1}), 3, false),
      Error);
}

// Users 1, 2, items 3, 4; edges 1-3, 1-4, 2-4. Node 0 is isolated: its row divided by L + 1.
TEST(LayerMean, ToyGraph) {
  const float half = 0.5f, root = static_cast<float>(std::sqrt(0.5));
  const SparseOperator a(HostTensor::From<int64_t>({0, 0, 2, 3, 4, 6}, {6}),
                         HostTensor::From<int64_t>({3, 4, 4, 1, 1, 2}, {6}),
                         HostTensor::From<float>({root, half, root, root, half, root}, {6}), 5,
                         true);
  at::Tensor dense = at::zeros({5, 5}, at::kDouble);
  const auto set = [&](int64_t i, int64_t j, float w) {
    dense.data_ptr<double>()[i * 5 + j] = dense.data_ptr<double>()[j * 5 + i] = w;
  };
  set(1, 3, root);
  set(1, 4, half);
  set(2, 4, root);
  const at::Tensor x = at::randn({5, 8}, at::kDouble).set_requires_grad(true);
  const at::Tensor out = LayerMean(a, x, 2);
  const at::Tensor ax = at::mm(dense, x), aax = at::mm(dense, ax);
  EXPECT_TRUE(at::allclose(out, (x + ax + aax) / 3, 0, 1e-12));
  EXPECT_TRUE(at::allclose(out[0], x[0] / 3, 0, 1e-12));
  const at::Tensor weight = at::randn({5, 8}, at::kDouble);
  (out * weight).sum().backward();
  const at::Tensor aw = at::mm(dense, weight);
  EXPECT_TRUE(at::allclose(x.grad(), (weight + aw + at::mm(dense, aw)) / 3, 0, 1e-12));
  EXPECT_TRUE(at::equal(LayerMean(a, x, 0), x));
}

}  // namespace
}  // namespace whyrec::nn
