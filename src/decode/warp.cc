#include "src/decode/warp.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/decode/shortlist.h"

namespace whyrec::decode {
namespace {

constexpr int64_t kFirstBlock = 256, kGrowth = 8;  // tokens looked at when nothing says how many

struct Scaled {
  int64_t token;
  float logit;  // divided by the temperature
};

// Row `row` of the list, best first.
std::vector<Scaled> Sorted(const Shortlist& list, size_t row, double temperature) {
  std::vector<Scaled> out;
  for (size_t e = list.first[row]; e < list.first[row + 1]; ++e) {
    out.push_back({list.tokens[e], list.logits[e] / static_cast<float>(temperature)});
  }
  std::sort(out.begin(), out.end(), [](const Scaled& a, const Scaled& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  return out;
}

// Probabilities relative to exp(normaliser).
std::vector<TokenProbability> Weigh(const std::vector<Scaled>& sorted, double normaliser) {
  std::vector<TokenProbability> out;
  for (const Scaled& s : sorted) out.push_back({s.token, std::exp(s.logit - normaliser)});
  return out;
}

double Mass(const std::vector<TokenProbability>& choices) {
  return std::accumulate(choices.begin(), choices.end(), 0.0,
                         [](double sum, const TokenProbability& c) { return sum + c.probability; });
}

void Normalise(std::vector<TokenProbability>& choices) {
  const double mass = Mass(choices);
  for (TokenProbability& choice : choices) choice.probability /= mass;
}

// Whether top-p drops a token when it and all less probable ones have 1 - `better`: in floats, like
// the reference library.
bool Dropped(double better, double top_p) {
  return static_cast<float>(1 - better) <= static_cast<float>(1 - top_p);
}

// `choices` are the most probable tokens of a distribution that sums to 1.
void CutTopP(std::vector<TokenProbability>& choices, double top_p) {
  double better = 0;
  size_t kept = 0;
  while (kept < choices.size() && (kept == 0 || !Dropped(better, top_p))) {
    better += choices[kept++].probability;
  }
  choices.resize(kept);
}

std::vector<std::vector<TokenProbability>> WarpTopK(const at::Tensor& logits,
                                                    const Sampling& sampling,
                                                    std::span<const double> normaliser) {
  const Shortlist list = TopTokens(logits, sampling.top_k, {}, normaliser);
  std::vector<std::vector<TokenProbability>> out;
  for (size_t row = 0; row + 1 < list.first.size(); ++row) {
    std::vector<Scaled> sorted = Sorted(list, row, sampling.temperature);
    const size_t k = std::min(static_cast<size_t>(sampling.top_k), sorted.size());
    std::erase_if(sorted, [kth = sorted[k - 1].logit](const Scaled& s) { return s.logit < kth; });
    out.push_back(Weigh(sorted, sorted[0].logit));
    Normalise(out.back());
    if (sampling.top_p < 1) {
      CutTopP(out.back(), sampling.top_p);
      Normalise(out.back());
    }
  }
  return out;
}

}  // namespace

std::vector<std::vector<TokenProbability>> Warp(const at::Tensor& logits, const Sampling& sampling,
                                                const std::vector<double>& normaliser,
                                                std::span<const double> enough) {
  if (sampling.top_k > 0) return WarpTopK(logits, sampling, normaliser);
  const bool cut = sampling.top_p < 1;
  const std::vector<double> total =
      sampling.temperature == 1 ? normaliser : Normalisers(logits, sampling.temperature);
  const int64_t vocabulary = logits.size(1);
  std::vector<std::vector<TokenProbability>> out(total.size());
  std::vector<int64_t> open(total.size());  // rows that need more tokens
  std::iota(open.begin(), open.end(), 0);
  const bool everything = !cut && enough.empty();
  for (int64_t k = everything ? vocabulary : kFirstBlock; !open.empty(); k *= kGrowth) {
    const bool all_rows = open.size() == total.size(), all_tokens = k >= vocabulary;
    const at::Tensor rows =
        all_rows ? logits : logits.index_select(0, at::tensor(open).to(logits.device()));
    std::vector<double> their;
    for (const int64_t row : open) their.push_back(normaliser[static_cast<size_t>(row)]);
    const Shortlist list = TopTokens(rows, k, {}, their);
    std::vector<int64_t> still_open;
    for (size_t i = 0; i < open.size(); ++i) {
      const auto row = static_cast<size_t>(open[i]);
      std::vector<TokenProbability>& choices = out[row];
      choices = Weigh(Sorted(list, i, sampling.temperature), total[row]);
      if (all_tokens) Normalise(choices);
      const double mass = Mass(choices);
      if (!all_tokens && !(cut ? Dropped(mass, sampling.top_p) : mass > enough[row])) {
        still_open.push_back(open[i]);
      } else if (cut) {
        CutTopP(choices, sampling.top_p);
        Normalise(choices);
      }
    }
    open = std::move(still_open);
  }
  return out;
}

}  // namespace whyrec::decode
