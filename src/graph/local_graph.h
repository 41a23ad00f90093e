// The part of a graph that one rank works on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/csr.h"

namespace whyrec::graph {

// Nodes are numbered by owner, then by their global number: the j-th node of an owner is its row j.
struct NodeMap {
  std::vector<int32_t> owner;               // of each node
  std::vector<int32_t> row;                 // its row at the owner
  std::vector<std::vector<int32_t>> nodes;  // of each owner, ascending

  int parts() const { return static_cast<int>(nodes.size()); }
};
NodeMap MakeNodeMap(std::vector<int32_t> owner, int parts);

// A row elsewhere.
struct Place {
  int32_t owner = 0, row = 0;
  auto operator<=>(const Place&) const = default;
};

// The rows of `a` that `part` owns. Columns are the own rows, in order, then the halo: the rows of
// others that these read, by owner and row.
struct LocalGraph {
  Csr matrix;  // [own rows, own rows + halo]
  std::vector<Place> halo;
};
LocalGraph Localise(const Csr& a, const NodeMap& map, int part);

}  // namespace whyrec::graph
