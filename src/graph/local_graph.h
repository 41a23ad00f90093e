// The part of a graph that one rank works on.
#pragma once

#include <vector>

#include "src/base/csr.h"
#include "src/base/node_map.h"

namespace whyrec::graph {

// The rows of `a` that `part` owns. Columns are the own rows, in order, then the halo: the rows of
// others that these read, by owner and row.
struct LocalGraph {
  Csr matrix;  // [own rows, own rows + halo]
  std::vector<Place> halo;
};
LocalGraph Localise(const Csr& a, const NodeMap& map, int part);

}  // namespace whyrec::graph
