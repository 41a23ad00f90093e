#include "src/base/node_map.h"

#include <utility>

#include "src/base/error.h"

namespace whyrec {

NodeMap MakeNodeMap(std::vector<int32_t> owner, int parts) {
  NodeMap out{std::move(owner), {}, std::vector<std::vector<int32_t>>(static_cast<size_t>(parts))};
  for (size_t node = 0; node < out.owner.size(); ++node) {
    WR_CHECK(out.owner[node] >= 0 && out.owner[node] < parts, "node ", node, " belongs to part ",
             out.owner[node], " of ", parts);
    auto& nodes = out.nodes[static_cast<size_t>(out.owner[node])];
    out.row.push_back(static_cast<int32_t>(nodes.size()));
    nodes.push_back(static_cast<int32_t>(node));
  }
  return out;
}

}  // namespace whyrec
