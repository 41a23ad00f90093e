#include "src/decode/sampling.h"

#include <ATen/ops/argmax.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/decode/shortlist.h"
#include "src/decode/warp.h"

namespace whyrec::decode {
namespace {

void CheckFinite(const std::vector<double>& normaliser, const std::vector<Stream>& streams) {
  for (size_t row = 0; row < streams.size(); ++row) {
    if (!std::isfinite(normaliser[row]))
      Fail(Exit::kData, "sampling of \"", streams[row].name, "\", token ", streams[row].step,
           ": the network's logits hold NaN or infinity; look at its weights and at the precision "
           "it runs in");
  }
}

std::vector<int64_t> Greedy(const at::Tensor& logits) {
  const at::Tensor best = at::argmax(logits, 1).cpu();  // the first of equal ones
  const int64_t* token = best.const_data_ptr<int64_t>();
  return {token, token + best.numel()};
}

// One uniform number per stream, against the cumulated probabilities.
std::vector<int64_t> Sampled(const at::Tensor& logits, const Sampling& sampling,
                             const std::vector<double>& normaliser,
                             const std::vector<Stream>& streams) {
  std::vector<double> uniform;
  for (const Stream& stream : streams) {
    Rng rng(sampling.seed, "sampling/" + stream.name, static_cast<uint64_t>(stream.step));
    uniform.push_back(rng.Uniform());
  }
  const auto rows = Warp(logits, sampling, normaliser, uniform);
  std::vector<int64_t> tokens;
  for (size_t row = 0; row < rows.size(); ++row) {
    double left = uniform[row];
    size_t i = 0;
    while (i + 1 < rows[row].size() && left >= rows[row][i].probability) {
      left -= rows[row][i++].probability;
    }
    tokens.push_back(rows[row][i].token);
  }
  return tokens;
}

}  // namespace

std::vector<Drawn> Draw(const at::Tensor& logits, const Sampling& sampling,
                        const std::vector<Stream>& streams) {
  WR_CHECK(logits.dim() == 2 && logits.size(0) == std::ssize(streams), logits.sizes(), " logits, ",
           streams.size(), " streams");
  WR_CHECK(sampling.temperature >= 0 && sampling.top_k >= 0 && sampling.top_p >= 0,
           sampling.temperature, " ", sampling.top_k, " ", sampling.top_p);
  if (streams.empty()) return {};
  const c10::NoGradGuard no_grad;
  const std::vector<double> normaliser = Normalisers(logits);
  CheckFinite(normaliser, streams);
  const std::vector<int64_t> tokens =
      sampling.temperature == 0 ? Greedy(logits) : Sampled(logits, sampling, normaliser, streams);
  std::vector<std::span<const int64_t>> picked;
  for (const int64_t& token : tokens) picked.emplace_back(&token, 1);
  const std::vector<float> logit = PickTokens(logits, picked, normaliser).logits;
  std::vector<Drawn> out;
  for (size_t row = 0; row < tokens.size(); ++row) {
    out.push_back({tokens[row], logit[row] - normaliser[row]});
  }
  return out;
}

}  // namespace whyrec::decode
