// Attention without a cache. K and V stay at their G heads: the H/G query heads of a group read the
// same copy.
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <memory>
#include <numeric>

#include "src/base/error.h"
#include "src/lm/phi.h"

namespace whyrec::lm {
namespace {

// [T,heads,dk] -> [1,heads,T,dk]
at::Tensor HeadsFirst(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

}  // namespace

Phi::Attend CausalAttention(const std::vector<int64_t>& lengths) {
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  return [lengths, total](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    WR_CHECK(q.size(0) == total, q.size(0), " tokens for sequences of ", total);
    std::vector<at::Tensor> read;
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      const auto part = [&](const at::Tensor& x) { return HeadsFirst(x.narrow(0, begin, length)); };
      read.push_back(at::scaled_dot_product_attention(part(q), part(k), part(v), {}, 0, true, {},
                                                      k.size(1) != q.size(1))
                         .squeeze(0)
                         .transpose(0, 1));
      begin += length;
    }
    return read.size() == 1 ? read[0] : at::cat(read);
  };
}

Phi::Attend MaskedAttention(const at::Tensor& mask) {
  WR_CHECK(mask.dim() == 2 && mask.size(0) == mask.size(1), "a mask is square");
  // Made by the first layer for the others.
  const auto allowed = std::make_shared<at::Tensor>();  // [group*N,N]
  return [mask, allowed](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    const int64_t tokens = q.size(0), key_heads = k.size(1), group = q.size(1) / key_heads;
    WR_CHECK(mask.size(0) == tokens, mask.size(0), " rows of mask for ", tokens, " tokens");
    // The heads of a group become further rows of one head, so that kernels with masks but without
    // grouped heads need no copies of K and V.
    const at::Tensor rows = q.unflatten(1, {key_heads, group}).permute({1, 2, 0, 3}).flatten(1, 2);
    if (!allowed->defined()) *allowed = mask.to(q.device()).repeat({group, 1});
    const at::Tensor read = at::scaled_dot_product_attention(
        rows.unsqueeze(0), HeadsFirst(k), HeadsFirst(v), allowed->unsqueeze(0).unsqueeze(0));
    return read.squeeze(0).unflatten(1, {group, tokens}).permute({2, 0, 1, 3}).flatten(1, 2);
  };
}

}  // namespace whyrec::lm
