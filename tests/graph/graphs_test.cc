// Graphs against dense arithmetic in double and closed forms.
#include "src/graph/graphs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include "src/base/ragged.h"

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/store/hdf5_file.h"

namespace whyrec::graph {
namespace {

using Dense = std::vector<std::vector<double>>;

Dense ToDense(const Csr& a) {
  Dense out(static_cast<size_t>(a.rows()),
            std::vector<double>(static_cast<size_t>(a.columns), 0.0));
  for (size_t row = 0; row < out.size(); ++row)
    for (auto i = static_cast<size_t>(a.offsets[row]); i < static_cast<size_t>(a.offsets[row + 1]);
         ++i)
      out[row][static_cast<size_t>(a.indices[i])] +=
          a.Weight(static_cast<int64_t>(row), static_cast<int64_t>(i));
  return out;
}

void ExpectSorted(const Csr& a) {
  for (size_t row = 0; row + 1 < a.offsets.size(); ++row)
    for (int64_t i = a.offsets[row] + 1; i < a.offsets[row + 1]; ++i)
      ASSERT_LE(a.indices[static_cast<size_t>(i - 1)], a.indices[static_cast<size_t>(i)]);
}

Ragged<int64_t> Rows(const std::vector<std::vector<int64_t>>& rows) {
  Ragged<int64_t> out;
  for (const auto& row : rows) out.Append(row);
  return out;
}

// 2 users, 2 items, 3 edges; degrees user 1: 2, user 2: 1, item 1: 1, item 2: 2.
TEST(InteractionGraph, ToyGraph) {
  const Csr graph = InteractionGraph(Rows({{0, 1}, {1}}), 2);
  EXPECT_EQ(graph.rows(), 5);
  EXPECT_EQ(graph.columns, 5);
  EXPECT_EQ(graph.offsets, (std::vector<int64_t>{0, 0, 2, 3, 4, 6}));
  EXPECT_EQ(graph.indices, (std::vector<int32_t>{3, 4, 4, 1, 1, 2}));
  EXPECT_TRUE(graph.values.empty());
  const double a = 1 / std::sqrt(2.0);
  EXPECT_EQ(graph.row_scale, (std::vector<double>{0, a, 1, 1, a}));
  EXPECT_EQ(graph.column_scale, graph.row_scale);
}

TEST(InteractionGraph, EqualsDenseArithmeticAndIsSymmetric) {
  constexpr int64_t kUsers = 30, kItems = 20, kNodes = kUsers + kItems + 1;
  std::vector<std::vector<int64_t>> rows(kUsers);
  Dense a(kNodes, std::vector<double>(kNodes, 0.0));
  Rng rng(3, "edges");
  for (int64_t u = 0; u < kUsers; ++u)
    for (int64_t n = rng.Between(0, 9); n > 0; --n) {  // repeats occur
      const int64_t item = rng.Between(0, kItems - 1);
      rows[static_cast<size_t>(u)].push_back(item);
      a[static_cast<size_t>(u + 1)][static_cast<size_t>(kUsers + 1 + item)] += 1;
      a[static_cast<size_t>(kUsers + 1 + item)][static_cast<size_t>(u + 1)] += 1;
    }
  const Csr graph = InteractionGraph(Rows(rows), kItems);
  ExpectSorted(graph);
  const Dense got = ToDense(graph), transposed = ToDense(Transpose(graph));
  std::vector<double> degree(kNodes, 0.0);
  for (size_t i = 0; i < kNodes; ++i)
    for (double weight : a[i]) degree[i] += weight;
  for (size_t i = 0; i < kNodes; ++i)
    for (size_t j = 0; j < kNodes; ++j) {
      const double want = a[i][j] == 0 ? 0 : a[i][j] / std::sqrt(degree[i] * degree[j]);
      EXPECT_NEAR(got[i][j], want, 1e-15);
      EXPECT_EQ(got[i][j], transposed[i][j]);
    }
}

// A repeated interaction is an entry of its own, and counts in both degrees.
TEST(InteractionGraph, RepeatsAreEntries) {
  const Csr graph = InteractionGraph(Rows({{0, 0}, {0}}), 1);
  EXPECT_EQ(graph.indices, (std::vector<int32_t>{3, 3, 3, 1, 1, 2}));
  EXPECT_NEAR(ToDense(graph)[1][3], 2 / std::sqrt(6.0), 1e-15);
}

TEST(InteractionGraph, RefusesItemsOutside) {
  EXPECT_THROW(InteractionGraph(Rows({{2}}), 2), Error);
}

// Every row sums to 1, entries are 1/(K+1), row 0 has its self loop only.
TEST(UserGraph, RowsSumToOne) {
  const HostTensor neighbours = HostTensor::From<int32_t>({3, 1, 0, 2, 0, 3, 2, 1}, {4, 2});
  const Csr graph = UserGraph(neighbours);
  ExpectSorted(graph);
  EXPECT_EQ(graph.offsets, (std::vector<int64_t>{0, 1, 4, 7, 10, 13}));
  EXPECT_EQ(graph.indices, (std::vector<int32_t>{0, 1, 2, 4, 1, 2, 3, 1, 3, 4, 2, 3, 4}));
  EXPECT_EQ(graph.Weight(0, 0), 1);
  for (int64_t row = 1; row < graph.rows(); ++row) EXPECT_EQ(graph.Weight(row, 3), 1.0 / 3);
  for (const auto& row : ToDense(graph)) {
    double sum = 0;
    for (double weight : row) sum += weight;
    EXPECT_NEAR(sum, 1, 1e-15);
  }
  EXPECT_THROW(UserGraph(HostTensor::From<int32_t>({4}, {1, 1})), Error);
}

TEST(Csr, FilesKeepEverything) {
  const auto file =
      std::filesystem::temp_directory_path() / ("whyrec_csr_" + std::to_string(getpid()) + ".h5");
  Csr graph = InteractionGraph(Rows({{0, 1}, {1}}), 2);
  graph.values = {1, 2, 3, 4, 5, 6};
  {
    store::Hdf5Writer writer(file);
    Save(graph, writer, "interactions");
    writer.Close();
  }
  const Csr loaded = LoadCsr(store::Hdf5Reader(file), "interactions");
  std::filesystem::remove(file);
  EXPECT_EQ(loaded.columns, graph.columns);
  EXPECT_EQ(loaded.offsets, graph.offsets);
  EXPECT_EQ(loaded.indices, graph.indices);
  EXPECT_EQ(loaded.values, graph.values);
  EXPECT_EQ(loaded.row_scale, graph.row_scale);
  EXPECT_EQ(loaded.column_scale, graph.column_scale);
}

}  // namespace
}  // namespace whyrec::graph
