// PCA against plain Jacobi rotations, top-K against sorting everything.
#include "src/nn/numeric.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "src/base/rng.h"

namespace whyrec::nn {
namespace {

using Matrix = std::vector<std::vector<double>>;

HostTensor RandomRows(int64_t n, int64_t width) {
  HostTensor out = HostTensor::Zeros(DType::kF32, {n, width});
  Rng rng(4, "rows");
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < width;
         ++j) {  // spreads differ, so that the order of components is clear
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
  const HostTensor z = RandomRows(n, width);
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

TEST(TopKCosine, EqualsSortingEverything) {
  const int64_t n = 700, width = 6, k = 9;  // more than one block
  HostTensor x = RandomRows(n, width);
  for (const int64_t copy : {5, 300, 513, 699}) {  // equal rows tie; the smaller index comes first
    std::ranges::copy(x.row<float>(100), x.row<float>(copy).begin());
  }
  std::ranges::fill(x.row<float>(7), 0.0f);
  const HostTensor got = TopKCosine(x, k);
  Matrix unit(static_cast<size_t>(n), std::vector<double>(width));
  for (int64_t i = 0; i < n; ++i) {
    double norm = 0;
    for (const float v : x.row<float>(i)) norm += static_cast<double>(v) * v;
    for (size_t j = 0; j < width; ++j) {
      unit[static_cast<size_t>(i)][j] = norm == 0 ? 0 : x.row<float>(i)[j] / std::sqrt(norm);
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    std::vector<std::pair<float, int32_t>> all;
    for (int64_t j = 0; j < n; ++j) {
      double score = 0;
      for (size_t d = 0; d < width; ++d) {
        score += unit[static_cast<size_t>(i)][d] * unit[static_cast<size_t>(j)][d];
      }
      if (j != i) all.emplace_back(static_cast<float>(-score), static_cast<int32_t>(j));
    }
    std::sort(all.begin(), all.end());
    for (size_t r = 0; r < k; ++r)
      EXPECT_EQ(got.row<int32_t>(i)[r], all[r].second) << i << " " << r;
  }
  const auto row = got.row<int32_t>(100);
  EXPECT_EQ((std::vector<int32_t>{row[0], row[1], row[2], row[3]}),
            (std::vector<int32_t>{5, 300, 513, 699}));
  const HostTensor part = TopKCosine(x, k, 90, 690);  // as one rank of several has it
  ASSERT_EQ(part.dim(0), 600);
  for (int64_t i = 0; i < 600; ++i)
    EXPECT_TRUE(std::ranges::equal(part.row<int32_t>(i), got.row<int32_t>(90 + i))) << i;
}

}  // namespace
}  // namespace whyrec::nn
