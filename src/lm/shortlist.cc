#include "src/lm/shortlist.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/error.h"
#include "src/lm/log_sum_exp.h"
#include "src/tensor/parallel.h"

namespace whyrec::lm {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr int64_t kChunkElements = int64_t{1} << 26;  // turned to float at a time, on a device

// Logits closer than this may become one number when they are normalised and added to a score.
double Slack(double logit, double normaliser, double added) {
  return 4 * std::numeric_limits<float>::epsilon() *
         (std::abs(logit) + std::abs(normaliser) + std::abs(added));
}

struct Entry {
  int64_t token;
  float logit;
};

// All entries of a row at or above its k-th largest less the slack, ascending by token. A bound
// that rises as entries are found lets through only a few hundred of a large vocabulary.
template <typename T>
std::vector<Entry> TopOfRow(const T* row, int64_t vocabulary, size_t k, double normaliser,
                            double added) {
  constexpr int64_t kBlock = 16;
  std::vector<Entry> found;
  float bound = kLowest;
  size_t full = 4 * k;
  const auto raise = [&] {
    std::vector<float> sorted;
    for (const Entry& entry : found) sorted.push_back(entry.logit);
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<int64_t>(k) - 1, sorted.end(),
                     std::greater<>());
    const double kth = sorted[k - 1];
    bound = std::max(kLowest, static_cast<float>(kth - Slack(kth, normaliser, added)));
    std::erase_if(found, [&](const Entry& entry) { return entry.logit < bound; });
    full = std::max(full, 2 * found.size());
  };
  for (int64_t i = 0; i < vocabulary; i += kBlock) {
    const int64_t end = std::min(i + kBlock, vocabulary);
    int any = 0;
    for (int64_t v = i; v < end; ++v) any |= static_cast<int>(static_cast<float>(row[v]) >= bound);
    if (any == 0) continue;
    for (int64_t v = i; v < end; ++v) {
      const float logit = row[v];
      if (logit >= bound) found.push_back({v, logit});
    }
    if (found.size() >= full) raise();
  }
  if (found.size() > k) raise();
  return found;
}

bool Skipped(std::span<const float> added, int64_t row) {
  return !added.empty() && added[static_cast<size_t>(row)] == kNever;
}

template <typename T>
Shortlist TopOnHost(const at::Tensor& logits, int64_t k, std::span<const float> added) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const T* data = logits.const_data_ptr<T>();
  std::vector<std::vector<Entry>> found(static_cast<size_t>(rows));
  Shortlist out{.normaliser = std::vector<double>(found.size())};
  tensor::ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (Skipped(added, r)) continue;
      const auto at = static_cast<size_t>(r);
      const T* row = data + r * vocabulary;
      out.normaliser[at] = LogSumExp(row, vocabulary);
      found[at] = TopOfRow(row, vocabulary, static_cast<size_t>(k), out.normaliser[at],
                           added.empty() ? 0 : added[at]);
    }
  });
  out.first.push_back(0);
  for (const auto& row : found) {
    for (const Entry& entry : row) {
      out.tokens.push_back(entry.token);
      out.logits.push_back(entry.logit);
    }
    out.first.push_back(out.tokens.size());
  }
  return out;
}

template <typename T>
std::vector<double> NormalisersOnHost(const at::Tensor& logits) {
  std::vector<double> out(static_cast<size_t>(logits.size(0)));
  const T* data = logits.const_data_ptr<T>();
  tensor::ParallelFor(logits.size(0), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      out[static_cast<size_t>(r)] = LogSumExp(data + r * logits.size(1), logits.size(1));
    }
  });
  return out;
}

at::Tensor OnHost(const at::Tensor& logits) {
  const bool bf16 = logits.scalar_type() == at::kBFloat16;
  return (bf16 ? logits : logits.to(at::kFloat)).contiguous();
}

template <typename T, typename From>
void CopyOut(const at::Tensor& from, std::vector<T>& to) {
  const at::Tensor host = from.cpu().contiguous();
  const From* data = host.const_data_ptr<From>();
  to.insert(to.end(), data, data + host.numel());
}

}  // namespace

Shortlist TopTokens(const at::Tensor& logits, int64_t k, std::span<const float> added) {
  k = std::min(k, logits.size(1));
  WR_CHECK(k > 0, "a shortlist of ", k, " of ", logits.size(1), " tokens");
  if (!logits.is_cpu()) return TopTokensByOperators(logits, k, added);
  const at::Tensor host = OnHost(logits);
  return host.scalar_type() == at::kFloat ? TopOnHost<float>(host, k, added)
                                          : TopOnHost<c10::BFloat16>(host, k, added);
}

Shortlist TopTokensByOperators(const at::Tensor& logits, int64_t k, std::span<const float> added) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / vocabulary);
  Shortlist out{.first = {0}};
  k = std::min(k, vocabulary);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const at::Tensor part = logits.slice(0, begin, std::min(begin + chunk, rows)).to(at::kFloat);
    const int64_t count = part.size(0);
    const at::Tensor normaliser = at::logsumexp(part, {1});
    const at::Tensor kth = std::get<0>(at::topk(part, k, 1)).select(1, k - 1);
    std::vector<double> bounds, kth_host, normaliser_host;
    CopyOut<double, float>(kth, kth_host);
    CopyOut<double, float>(normaliser, normaliser_host);
    for (int64_t r = 0; r < count; ++r) {
      const auto at = static_cast<size_t>(r);
      const double score = added.empty() ? 0 : added[static_cast<size_t>(begin + r)];
      const double bound = kth_host[at] - Slack(kth_host[at], normaliser_host[at], score);
      const bool skipped = Skipped(added, begin + r);
      bounds.push_back(skipped ? std::numeric_limits<float>::infinity()
                               : std::max<double>(kLowest, bound));
    }
    const at::Tensor bound = at::tensor(bounds).to(at::kFloat).to(part.device());
    const at::Tensor places = at::nonzero(part >= bound.unsqueeze(1));  // by row, then token
    const at::Tensor flat = places.select(1, 0) * vocabulary + places.select(1, 1);
    std::vector<int64_t> row_of;
    CopyOut<int64_t, int64_t>(places.select(1, 0), row_of);
    CopyOut<int64_t, int64_t>(places.select(1, 1), out.tokens);
    CopyOut<float, float>(part.flatten().index_select(0, flat), out.logits);
    out.normaliser.insert(out.normaliser.end(), normaliser_host.begin(), normaliser_host.end());
    auto next = row_of.begin();
    const size_t before = out.first.back();
    for (int64_t r = 0; r < count; ++r) {
      next = std::upper_bound(next, row_of.end(), r);
      out.first.push_back(before + static_cast<size_t>(next - row_of.begin()));
    }
  }
  return out;
}

Shortlist PickTokens(const at::Tensor& logits,
                     const std::vector<std::span<const int64_t>>& tokens) {
  Shortlist out{.first = {0}, .normaliser = Normalisers(logits)};
  std::vector<int64_t> flat;
  for (size_t r = 0; r < tokens.size(); ++r) {
    for (const int64_t token : tokens[r]) {
      out.tokens.push_back(token);
      flat.push_back(static_cast<int64_t>(r) * logits.size(1) + token);
    }
    out.first.push_back(flat.size());
  }
  const at::Tensor places = at::tensor(flat).to(logits.device());
  CopyOut<float, float>(logits.reshape(-1).index_select(0, places).to(at::kFloat), out.logits);
  return out;
}

std::vector<double> Normalisers(const at::Tensor& logits) {
  if (logits.is_cpu()) {
    const at::Tensor host = OnHost(logits);
    return host.scalar_type() == at::kFloat ? NormalisersOnHost<float>(host)
                                            : NormalisersOnHost<c10::BFloat16>(host);
  }
  std::vector<double> out;
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / logits.size(1));
  for (int64_t begin = 0; begin < logits.size(0); begin += chunk) {
    const at::Tensor part = logits.slice(0, begin, std::min(begin + chunk, logits.size(0)));
    CopyOut<double, float>(at::logsumexp(part.to(at::kFloat), {1}), out);
  }
  return out;
}

}  // namespace whyrec::lm
