// Rows of a table that are distributed over ranks.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace whyrec {

// A row at its owner.
struct Place {
  int32_t owner = 0, row = 0;
  auto operator<=>(const Place&) const = default;
};

// The j-th node of an owner, in the order of the nodes' numbers, is its row j. 8 bytes a node.
struct NodeMap {
  std::vector<int32_t> owner;               // of each node
  std::vector<int32_t> row;                 // its row at the owner
  std::vector<std::vector<int32_t>> nodes;  // of each owner, ascending

  int parts() const { return static_cast<int>(nodes.size()); }
  int64_t size() const { return static_cast<int64_t>(owner.size()); }
  Place Of(int64_t node) const {
    return {owner[static_cast<size_t>(node)], row[static_cast<size_t>(node)]};
  }
};
NodeMap MakeNodeMap(std::vector<int32_t> owner, int parts);

}  // namespace whyrec
