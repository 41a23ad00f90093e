// Nearest rows against sorting everything.
#include "src/nn/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace whyrec::nn {
namespace {

using Matrix = std::vector<std::vector<double>>;

HostTensor RandomRows(int64_t n, int64_t width) {
  HostTensor out = HostTensor::Zeros(DType::kF32, {n, width});
  Rng rng(4, "rows");
  for (float& value : out.values<float>()) value = static_cast<float>(rng.Normal());
  return out;
}

TEST(TopKCosine, EqualsSortingEverything) {
  const int64_t n = 1900, width = 6, k = 9;  // four blocks
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

// Thousands of rows within fp32's rounding of each other: what screening in fp32 cannot tell apart,
// exact products do.
TEST(TopKCosine, NearTiesHaveTheExactOrder) {
  constexpr int64_t kRows = 1500, kWidth = 200, kBest = 40;
  HostTensor x = RandomRows(kRows, kWidth);
  Rng rng(5, "near");
  for (int64_t i = 1; i < kRows; ++i)
    for (int64_t d = 0; d < kWidth; ++d)
      x.row<float>(i)[static_cast<size_t>(d)] =
          x.row<float>(0)[static_cast<size_t>(d)] * static_cast<float>(1 + 3e-3 * rng.Normal());
  const HostTensor got = TopKCosine(x, kBest);
  const auto cosine = [&](int64_t i, int64_t j) {
    double dot = 0, a = 0, b = 0;
    for (size_t d = 0; d < kWidth; ++d) {
      const double u = x.row<float>(i)[d], v = x.row<float>(j)[d];
      dot += u * v, a += u * u, b += v * v;
    }
    return static_cast<float>(dot / std::sqrt(a * b));
  };
  for (int64_t i = 0; i < kRows; i += 100) {
    std::vector<std::pair<float, int32_t>> all;
    for (int64_t j = 0; j < kRows; ++j)
      if (j != i) all.emplace_back(-cosine(i, j), static_cast<int32_t>(j));
    std::ranges::sort(all);
    // The cosines in order; equal ones, and those that double itself cannot tell apart, may swap.
    for (size_t r = 0; r < kBest; ++r)
      EXPECT_NEAR(cosine(i, got.row<int32_t>(i)[r]), -all[r].first, 6.1e-8) << i << " " << r;
    EXPECT_GT(-all[0].first + all[kBest].first, 0);
  }
}

TEST(TopKCosine, AllOthers) {
  const HostTensor got = TopKCosine(RandomRows(3, 5), 2);
  for (int64_t i = 0; i < 3; ++i) {
    std::vector<int32_t> row(got.row<int32_t>(i).begin(), got.row<int32_t>(i).end());
    std::ranges::sort(row);
    row.insert(row.begin() + i, static_cast<int32_t>(i));
    EXPECT_EQ(row, (std::vector<int32_t>{0, 1, 2}));
  }
}

TEST(TopKCosine, BrokenRowsAreErrors) {
  HostTensor x = RandomRows(10, 4);
  EXPECT_THROW(TopKCosine(x, 10), Error);
  EXPECT_THROW(TopKCosine(x, 0), Error);
  x.row<float>(3)[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(TopKCosine(x, 2), Error);
  x.row<float>(3)[1] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(TopKCosine(x, 2), Error);
}

}  // namespace
}  // namespace whyrec::nn
