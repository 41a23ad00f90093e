#include "src/lm/packed_branches.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.h"

namespace whyrec::lm {

int64_t PackedBranches::tokens() const {
  return std::accumulate(branches.begin(), branches.end(), prefix);
}

int64_t PackedBranches::longest_path() const {
  return prefix + (branches.empty() ? 0 : *std::max_element(branches.begin(), branches.end()));
}

at::Tensor TreeMask(const PackedBranches& tree) {
  const int64_t total = tree.tokens();
  at::Tensor mask = at::zeros({total, total}, at::kBool);
  mask.narrow(1, 0, tree.prefix).fill_(true);
  int64_t begin = tree.prefix;
  for (const int64_t length : tree.branches) {
    mask.narrow(0, begin, length).narrow(1, begin, length).fill_(true);
    begin += length;
  }
  return mask.logical_and_(at::ones({total, total}, at::kBool).tril_());
}

at::Tensor TreePositions(const PackedBranches& tree) {
  std::vector<at::Tensor> parts = {at::arange(tree.prefix, at::kLong)};
  for (const int64_t length : tree.branches)
    parts.push_back(at::arange(tree.prefix, tree.prefix + length, at::kLong));
  return at::cat(parts);
}

Phi::Attend TreeAttention(const std::vector<PackedBranches>& trees) {
  struct Part {
    int64_t tokens;
    Phi::Attend attend;
  };
  std::vector<Part> parts;
  for (const PackedBranches& tree : trees) {
    const int64_t tokens = tree.tokens();
    const bool plain = tree.branches.size() < 2;
    parts.push_back({tokens, plain ? CausalAttention({tokens}) : MaskedAttention(TreeMask(tree))});
  }
  return [parts](int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    std::vector<at::Tensor> read;
    int64_t begin = 0;
    for (const auto& [tokens, attend] : parts) {
      const auto own = [&](const at::Tensor& x) { return x.narrow(0, begin, tokens); };
      read.push_back(attend(layer, own(q), own(k), own(v)));
      begin += tokens;
    }
    WR_CHECK(begin == q.size(0), q.size(0), " tokens for trees of ", begin);
    return at::cat(read);
  };
}

}  // namespace whyrec::lm
