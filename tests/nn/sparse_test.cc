// Sparse products against dense ones.
#include "src/nn/sparse.h"

#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/rng.h"

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

// Isrf section 14, check 1: users 1, 2, items 3, 4; edges 1-3, 1-4, 2-4; node 0 isolated.
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
