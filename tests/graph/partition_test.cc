// Partitions of graphs, and their local parts put together again.
#include "src/graph/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/graph/graphs.h"
#include "src/graph/local_graph.h"

namespace whyrec::graph {
namespace {

// Shops without common customers, and some customers of all shops.
Csr Shops(int64_t shops, int64_t users, int64_t items, double strays) {
  Ragged<int64_t> histories;
  Rng rng(1, "shops");
  for (int64_t u = 0; u < shops * users; ++u) {
    std::vector<int64_t> row(6);
    for (int64_t& item : row) {
      const int64_t shop = rng.Uniform() < strays ? rng.Between(0, shops - 1) : u % shops;
      item = shop * items + rng.Between(0, items - 1);
    }
    histories.Append(row);
  }
  return InteractionGraph(histories, shops * items);
}

TEST(Partition, FindsPartsThatAreThere) {
  const Csr graph = Shops(4, 100, 40, 0);
  const auto owner = Partition(graph, {.parts = 4});
  const PartitionCost cost = CostOf(graph, owner, 4);
  // Chance cuts three quarters. Greedy streaming leaves some nodes where there was still room.
  EXPECT_LT(static_cast<double>(cost.cut), 0.1 * static_cast<double>(graph.entries()));
}

TEST(Partition, CutsLessThanChanceAndBalances) {
  const Csr graph = Shops(8, 200, 50, 0.3);
  for (const int parts : {2, 3, 8}) {
    const auto owner = Partition(graph, {.parts = parts});
    std::vector<int32_t> drawn(owner.size());
    Rng rng(2, "drawn");
    for (int32_t& part : drawn)
      part = static_cast<int32_t>(rng.Below(static_cast<uint64_t>(parts)));
    const PartitionCost cost = CostOf(graph, owner, parts), chance = CostOf(graph, drawn, parts);
    EXPECT_LT(static_cast<double>(cost.cut), 0.7 * static_cast<double>(chance.cut)) << parts;
    for (size_t p = 0; p < cost.rows.size(); ++p)
      EXPECT_LT(static_cast<double>(cost.entries[p] + 4 * cost.rows[p]) * parts,
                1.06 * static_cast<double>(graph.entries() + 4 * graph.rows()))
          << parts;
    EXPECT_EQ(std::accumulate(cost.rows.begin(), cost.rows.end(), int64_t{0}), graph.rows());
    EXPECT_EQ(owner, Partition(graph, {.parts = parts})) << "the same on every rank";
  }
}

TEST(Partition, MorePartsThanNodes) {
  const Csr graph =
      InteractionGraph(Ragged<int64_t>{{0, 1}, {0}}, 1);  // 3 nodes, one without edges
  const auto owner = Partition(graph, {.parts = 5});
  EXPECT_EQ(owner.size(), 3u);
  const NodeMap map = MakeNodeMap(owner, 5);
  EXPECT_EQ(map.parts(), 5);
  const LocalGraph none =
      Localise(graph, map,
               static_cast<int>(std::ranges::find_if(map.nodes, &std::vector<int32_t>::empty) -
                                map.nodes.begin()));
  EXPECT_EQ(none.matrix.rows(), 0);
  EXPECT_TRUE(none.halo.empty());
}

// Entries of all parts, in global numbers, are the graph's; the halo is what CostOf counts.
TEST(LocalGraph, PartsMakeUpTheWhole) {
  Csr graph = Shops(3, 40, 20, 0.4);
  for (int64_t k = 0; k < graph.entries(); ++k) graph.values.push_back(static_cast<float>(k));
  constexpr int kParts = 3;
  const NodeMap map = MakeNodeMap(Partition(graph, {.parts = kParts}), kParts);
  const PartitionCost cost = CostOf(graph, map.owner, kParts);
  int64_t entries = 0;
  for (int part = 0; part < kParts; ++part) {
    const LocalGraph local = Localise(graph, map, part);
    const auto& own = map.nodes[static_cast<size_t>(part)];
    EXPECT_EQ(std::ssize(local.halo), cost.halo[static_cast<size_t>(part)]);
    EXPECT_TRUE(std::ranges::is_sorted(local.halo));
    const auto global = [&](int32_t column) {
      if (column < std::ssize(own)) return own[static_cast<size_t>(column)];
      const Place place = local.halo[static_cast<size_t>(column) - own.size()];
      EXPECT_NE(place.owner, part);
      return map.nodes[static_cast<size_t>(place.owner)][static_cast<size_t>(place.row)];
    };
    for (int64_t row = 0; row < local.matrix.rows(); ++row) {
      const int32_t node = own[static_cast<size_t>(row)];
      int64_t k = graph.offsets[static_cast<size_t>(node)];
      for (int64_t l = local.matrix.offsets[static_cast<size_t>(row)];
           l < local.matrix.offsets[static_cast<size_t>(row) + 1]; ++l, ++k, ++entries) {
        ASSERT_EQ(global(local.matrix.indices[static_cast<size_t>(l)]),
                  graph.indices[static_cast<size_t>(k)]);
        ASSERT_EQ(local.matrix.Weight(row, l), graph.Weight(node, k));
      }
      ASSERT_EQ(k, graph.offsets[static_cast<size_t>(node) + 1]);
    }
  }
  EXPECT_EQ(entries, graph.entries());
}

}  // namespace
}  // namespace whyrec::graph
