#include "src/decode/trie.h"

#include <algorithm>

namespace whyrec::decode {

void Trie::Builder::Insert(std::span<const int64_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  tokens_.push_back(eos_);
  ends_.push_back(tokens_.size());
}

Trie Trie::Builder::Build() const {
  std::vector<std::span<const int64_t>> sequences;
  for (size_t i = 0, begin = 0; i < ends_.size(); begin = ends_[i++]) {
    sequences.push_back(std::span(tokens_).subspan(begin, ends_[i] - begin));
  }
  std::sort(sequences.begin(), sequences.end(), [](const auto& a, const auto& b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  });
  struct Node {  // a prefix, by the sorted sequences that begin with it
    size_t begin, end, depth;
  };
  std::vector<Node> nodes = {{0, sequences.size(), 0}};
  Trie trie;
  trie.first_ = {0};
  for (size_t n = 0; n < nodes.size(); ++n) {
    const auto [begin, end, depth] = nodes[n];
    for (size_t i = begin; i < end;) {
      const size_t from = i;
      if (sequences[i++].size() == depth) continue;  // ends here
      const int64_t token = sequences[from][depth];
      while (i < end && sequences[i][depth] == token) ++i;
      trie.tokens_.push_back(token);
      nodes.push_back({from, i, depth + 1});
    }
    trie.first_.push_back(trie.tokens_.size());
  }
  return trie;
}

int64_t Trie::Child(int64_t node, int64_t token) const {
  const std::span<const int64_t> allowed = Allowed(node);
  const auto place = std::lower_bound(allowed.begin(), allowed.end(), token);
  if (place == allowed.end() || *place != token) return kNone;
  return &*place - tokens_.data() + 1;
}

}  // namespace whyrec::decode
