// PCA against plain Jacobi rotations.
#include "src/nn/numeric.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "src/base/rng.h"

namespace whyrec::nn {
namespace {

using Matrix = std::vector<std::vector<double>>;

// Spreads of the columns differ, so that the order of components is clear.
HostTensor SpreadRows(int64_t n, int64_t width) {
  HostTensor out = HostTensor::Zeros(DType::kF32, {n, width});
  Rng rng(4, "rows");
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      out.row<float>(i)[static_cast<size_t>(j)] =
          static_cast<float>(3 + rng.Normal() * static_cast<double>(1 + j));
    }
  }
  return out;
}

// Eigenvectors (columns of the result) of a symmetric matrix by cyclic rotations; `a` becomes
// diagonal.
Matrix Jacobi(Matrix& a) {
  const size_t n = a.size();
  Matrix v(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) v[i][i] = 1;
  for (int sweep = 0; sweep < 30; ++sweep) {
    for (size_t p = 0; p < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) {
        const double angle = 0.5 * std::atan2(2 * a[p][q], a[q][q] - a[p][p]);
        const double c = std::cos(angle), s = std::sin(angle);
        const auto rotate = [&](double& x, double& y) {
          const double old = x;
          x = c * old - s * y;
          y = s * old + c * y;
        };
        for (size_t k = 0; k < n; ++k) rotate(a[k][p], a[k][q]);
        for (size_t k = 0; k < n; ++k) rotate(a[p][k], a[q][k]);
        for (size_t k = 0; k < n; ++k) rotate(v[k][p], v[k][q]);
      }
    }
  }
  return v;
}

TEST(Pca, EqualsPlainJacobi) {
  const int64_t n = 60, width = 8;
  const HostTensor z = SpreadRows(n, width);
  Matrix centred(n, std::vector<double>(width));
  for (size_t j = 0; j < width; ++j) {
    double mean = 0;
    for (int64_t i = 0; i < n; ++i) mean += z.row<float>(i)[j] / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) centred[static_cast<size_t>(i)][j] = z.row<float>(i)[j] - mean;
  }
  Matrix covariance(width, std::vector<double>(width, 0));
  for (const auto& row : centred) {
    for (size_t j = 0; j < width; ++j) {
      for (size_t k = 0; k < width; ++k) covariance[j][k] += row[j] * row[k];
    }
  }
  const Matrix vectors = Jacobi(covariance);
  std::vector<size_t> order(width);
  for (size_t j = 0; j < width; ++j) order[j] = j;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return covariance[a][a] > covariance[b][b]; });
  const int64_t p = 5;
  const HostTensor got = Pca(z, p);
  ASSERT_EQ(got.shape(), (std::vector<int64_t>{n, p}));
  for (size_t c = 0; c < p; ++c) {
    double largest = 0;
    for (size_t j = 0; j < width; ++j) {
      if (std::abs(vectors[j][order[c]]) > std::abs(largest)) largest = vectors[j][order[c]];
    }
    for (int64_t i = 0; i < n; ++i) {
      double want = 0;
      for (size_t j = 0; j < width; ++j) {
        want += centred[static_cast<size_t>(i)][j] * vectors[j][order[c]];
      }
      EXPECT_NEAR(got.row<float>(i)[c], largest < 0 ? -want : want, 1e-4);
    }
  }
  EXPECT_THROW(Pca(z, 9), Error);
}

}  // namespace
}  // namespace whyrec::nn
