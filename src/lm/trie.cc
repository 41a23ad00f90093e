#include "src/lm/trie.h"

#include <algorithm>

namespace whyrec::lm {
namespace {

constexpr auto kByToken = [](const std::pair<int64_t, int64_t>& child, int64_t token) {
  return child.first < token;
};

}  // namespace

void Trie::Insert(std::span<const int64_t> tokens) {
  int64_t node = kRoot;
  const auto descend = [&](int64_t token) {
    auto& children = nodes_[static_cast<size_t>(node)].children;
    const auto place = std::lower_bound(children.begin(), children.end(), token, kByToken);
    if (place != children.end() && place->first == token) {
      node = place->second;
      return;
    }
    node = static_cast<int64_t>(nodes_.size());
    children.insert(place, {token, node});
    nodes_.emplace_back();
  };
  for (const int64_t token : tokens) descend(token);
  descend(eos_);
}

int64_t Trie::Child(int64_t node, int64_t token) const {
  const auto& children = nodes_[static_cast<size_t>(node)].children;
  const auto place = std::lower_bound(children.begin(), children.end(), token, kByToken);
  return place != children.end() && place->first == token ? place->second : kNone;
}

std::vector<int64_t> Trie::Allowed(int64_t node) const {
  std::vector<int64_t> tokens;
  for (const auto& [token, child] : nodes_[static_cast<size_t>(node)].children) {
    tokens.push_back(token);
  }
  return tokens;
}

}  // namespace whyrec::lm
