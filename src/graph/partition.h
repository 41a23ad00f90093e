// Who owns which node of a graph, and what that costs: rows that ranks send each other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/csr.h"

namespace whyrec::graph {

struct PartitionOptions {
  int parts = 1;
  int passes = 10;      // over all nodes
  double slack = 0.05;  // how far a part's work may exceed the mean
  uint64_t seed = 1;    // of the order of nodes
};

// The part of every node, so that neighbours tend to share one: linear deterministic greedy
// streaming (Stanton & Kliot, KDD 2012) with restreaming (Nishimura & Ugander, KDD 2013). A node
// goes where most of its neighbours are, weighed by the room that is left; room is measured in
// work, the entries of a row and four more for the row itself. `a`: square, symmetric. The same for
// any number of ranks that compute it. Takes 8 bytes a node besides the graph.
std::vector<int32_t> Partition(const Csr& a, const PartitionOptions& options);

struct PartitionCost {
  std::vector<int64_t> rows, entries;  // of each part
  std::vector<int64_t> halo;           // rows of others that each part reads
  int64_t cut = 0;                     // entries whose row and column are in different parts
};
PartitionCost CostOf(const Csr& a, std::span<const int32_t> owner, int parts);

}  // namespace whyrec::graph
