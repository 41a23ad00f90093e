// Prefix tree over token sequences, each ended by EOS, in the form of compressed sparse rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace whyrec::decode {

class Trie {
 public:
  // Collects the sequences, in any order, repeated or not.
  class Builder {
   public:
    explicit Builder(int64_t eos = 1) : eos_(eos) {}
    void Insert(std::span<const int64_t> tokens);  // EOS is added
    Trie Build() const;

   private:
    int64_t eos_;
    std::vector<int64_t> tokens_;  // one sequence after the other
    std::vector<size_t> ends_;
  };

  static constexpr int64_t kRoot = 0, kNone = -1;
  Trie() = default;                                       // of no sequence
  int64_t Child(int64_t node, int64_t token) const;       // kNone when there is none
  std::span<const int64_t> Allowed(int64_t node) const {  // tokens that may follow, ascending
    const auto at = static_cast<size_t>(node);
    return std::span(tokens_).subspan(first_[at], first_[at + 1] - first_[at]);
  }

 private:
  // Nodes are numbered breadth first, so the i-th token of all nodes leads to node i + 1.
  std::vector<size_t> first_ = {0, 0};  // node n's tokens are first_[n] .. first_[n + 1]
  std::vector<int64_t> tokens_;
};

}  // namespace whyrec::decode
