#include "src/decode/shortlist.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "src/base/error.h"
#include "src/decode/lanes.h"
#include "src/decode/log_sum_exp.h"
#include "src/tensor/parallel.h"

namespace whyrec::decode {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr int64_t kChunkElements = int64_t{1} << 26;  // turned to float at a time, on a device

// Logits closer than this may become one number when they are normalised and added to a score.
double Slack(double logit, double normaliser, double added) {
  return 4 * std::numeric_limits<float>::epsilon() *
         (std::abs(logit) + std::abs(normaliser) + std::abs(added));
}

constexpr int64_t kTested = 8 * kLanes;

// Whether one of the next kTested logits reaches the bound.
template <typename T>
bool AnyReaches(const T* block, float bound) {
  Bits hits = {};
  for (int64_t i = 0; i < kTested; i += kLanes) {
    hits |= std::bit_cast<Bits>(Read(block + i) >= bound);
  }
  return (hits[0] | hits[1] | hits[2] | hits[3]) != 0;
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
  for (int64_t i = 0; i < vocabulary; i += kTested) {
    const int64_t end = std::min(i + kTested, vocabulary);
    if (end - i == kTested && !AnyReaches(row + i, bound)) continue;
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
Shortlist TopOnHost(const at::Tensor& logits, int64_t k, std::span<const float> added,
                    std::span<const double> normaliser) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const T* data = logits.const_data_ptr<T>();
  std::vector<std::vector<Entry>> found(static_cast<size_t>(rows));
  Shortlist out{.normaliser = std::vector<double>(found.size())};
  tensor::ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (Skipped(added, r)) continue;
      const auto at = static_cast<size_t>(r);
      const T* row = data + r * vocabulary;
      out.normaliser[at] = normaliser.empty() ? LogSumExp(row, vocabulary) : normaliser[at];
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
std::vector<double> NormalisersOnHost(const at::Tensor& logits, double temperature) {
  std::vector<double> out(static_cast<size_t>(logits.size(0)));
  const T* data = logits.const_data_ptr<T>();
  tensor::ParallelFor(logits.size(0), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      out[static_cast<size_t>(r)] =
          LogSumExp(data + r * logits.size(1), logits.size(1), temperature);
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

std::vector<double> Normalisers(const at::Tensor& logits, double temperature) {
  if (logits.is_cpu()) {
    const at::Tensor host = OnHost(logits);
    return host.scalar_type() == at::kFloat ? NormalisersOnHost<float>(host, temperature)
                                            : NormalisersOnHost<c10::BFloat16>(host, temperature);
  }
  std::vector<double> out;
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / logits.size(1));
  for (int64_t begin = 0; begin < logits.size(0); begin += chunk) {
    const at::Tensor part = logits.slice(0, begin, std::min(begin + chunk, logits.size(0)));
    CopyOut<double, float>(at::logsumexp(part.to(at::kFloat) / temperature, {1}), out);
  }
  return out;
}

Shortlist TopTokens(const at::Tensor& logits, int64_t k, std::span<const float> added,
                    std::span<const double> normaliser) {
  k = std::min(k, logits.size(1));
  WR_CHECK(k > 0, "a shortlist of ", k, " of ", logits.size(1), " tokens");
  if (!logits.is_cpu()) return TopTokensByOperators(logits, k, added, normaliser);
  const at::Tensor host = OnHost(logits);
  return host.scalar_type() == at::kFloat ? TopOnHost<float>(host, k, added, normaliser)
                                          : TopOnHost<c10::BFloat16>(host, k, added, normaliser);
}

Shortlist TopTokensByOperators(const at::Tensor& logits, int64_t k, std::span<const float> added,
                               std::span<const double> normaliser) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / vocabulary);
  Shortlist out{.first = {0}};
  out.normaliser =
      normaliser.empty() ? Normalisers(logits) : std::vector(normaliser.begin(), normaliser.end());
  k = std::min(k, vocabulary);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const at::Tensor part = logits.slice(0, begin, std::min(begin + chunk, rows));
    std::vector<float> kth, bounds;
    CopyOut<float, float>(std::get<0>(at::topk(part, k, 1)).select(1, k - 1).to(at::kFloat), kth);
    for (size_t i = 0; i < kth.size(); ++i) {
      const size_t row = static_cast<size_t>(begin) + i;
      const double slack = Slack(kth[i], out.normaliser[row], added.empty() ? 0 : added[row]);
      bounds.push_back(Skipped(added, static_cast<int64_t>(row))
                           ? -kNever
                           : std::max(kLowest, static_cast<float>(kth[i] - slack)));
    }
    const at::Tensor bound = at::tensor(bounds).to(part.device()).unsqueeze(1);
    const at::Tensor places = at::nonzero(part >= bound);  // by row, then token
    const at::Tensor flat = places.select(1, 0) * vocabulary + places.select(1, 1);
    std::vector<int64_t> row_of;
    CopyOut<int64_t, int64_t>(places.select(1, 0), row_of);
    CopyOut<int64_t, int64_t>(places.select(1, 1), out.tokens);
    CopyOut<float, float>(part.reshape(-1).index_select(0, flat).to(at::kFloat), out.logits);
    const size_t before = out.first.back();
    for (int64_t r = 0; r < part.size(0); ++r) {
      const auto end = std::upper_bound(row_of.begin(), row_of.end(), r);
      out.first.push_back(before + static_cast<size_t>(end - row_of.begin()));
    }
  }
  return out;
}

Shortlist PickTokens(const at::Tensor& logits, const std::vector<std::span<const int64_t>>& tokens,
                     std::span<const double> normaliser) {
  Shortlist out{.first = {0}};
  out.normaliser =
      normaliser.empty() ? Normalisers(logits) : std::vector(normaliser.begin(), normaliser.end());
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

}  // namespace whyrec::decode
