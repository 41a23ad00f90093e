// Prefix tree over token sequences, each ended by EOS.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace whyrec::lm {

class Trie {
 public:
  explicit Trie(int64_t eos = 1) : eos_(eos), nodes_(1) {}
  void Insert(std::span<const int64_t> tokens);  // EOS is added
  static constexpr int64_t kRoot = 0, kNone = -1;
  int64_t Child(int64_t node, int64_t token) const;  // kNone when there is none
  std::vector<int64_t> Allowed(int64_t node) const;  // tokens that may follow, ascending

 private:
  struct Node {
    std::vector<std::pair<int64_t, int64_t>> children;  // (token, node), ascending
  };
  int64_t eos_;
  std::vector<Node> nodes_;
};

}  // namespace whyrec::lm
