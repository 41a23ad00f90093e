#include "src/graph/local_graph.h"

#include <algorithm>

#include "src/base/error.h"

namespace whyrec::graph {

LocalGraph Localise(const Csr& a, const NodeMap& map, int part) {
  WR_CHECK(a.rows() == a.columns && a.rows() == map.size(), a.rows(), " rows, ", map.size(),
           " nodes");
  const auto& own = map.nodes[static_cast<size_t>(part)];
  const auto each_entry = [&](const auto& f) {
    for (const int32_t node : own)
      for (int64_t k = a.offsets[static_cast<size_t>(node)];
           k < a.offsets[static_cast<size_t>(node) + 1]; ++k)
        f(map.Of(a.indices[static_cast<size_t>(k)]), static_cast<size_t>(k));
  };
  LocalGraph out;
  each_entry([&](const Place& place, size_t) {
    if (place.owner != part) out.halo.push_back(place);
  });
  std::ranges::sort(out.halo);
  out.halo.erase(std::unique(out.halo.begin(), out.halo.end()), out.halo.end());

  // Entries keep the order of the global row, so that its sum has the same bits everywhere.
  Csr& m = out.matrix;
  m.columns = std::ssize(own) + std::ssize(out.halo);
  each_entry([&](const Place& place, size_t k) {
    const auto halo = std::ranges::lower_bound(out.halo, place) - out.halo.begin();
    m.indices.push_back(
        static_cast<int32_t>(place.owner == part ? place.row : std::ssize(own) + halo));
    if (!a.values.empty()) m.values.push_back(a.values[k]);
  });
  for (const int32_t node : own) {
    const auto n = static_cast<size_t>(node);
    m.offsets.push_back(m.offsets.back() + a.offsets[n + 1] - a.offsets[n]);
    if (!a.row_scale.empty()) m.row_scale.push_back(a.row_scale[n]);
    if (!a.column_scale.empty()) m.column_scale.push_back(a.column_scale[n]);
  }
  if (!a.column_scale.empty())
    for (const Place& place : out.halo) {
      const auto& nodes = map.nodes[static_cast<size_t>(place.owner)];
      m.column_scale.push_back(
          a.column_scale[static_cast<size_t>(nodes[static_cast<size_t>(place.row)])]);
    }
  return out;
}

}  // namespace whyrec::graph
