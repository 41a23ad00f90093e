#include "src/lm/beam_search.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "src/base/error.h"

namespace whyrec::lm {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Beam {
  std::vector<int64_t> tokens;
  float score = kNever;  // sum of log probabilities
  int64_t node = Trie::kRoot;
};

struct Candidate {
  float score;
  int64_t beam, token;
};

// Best first; equal scores by beam, then token.
bool Better(const Candidate& a, const Candidate& b) {
  return std::tie(b.score, a.beam, a.token) < std::tie(a.score, b.beam, b.token);
}

struct Sample {
  std::vector<Beam> beams;
  std::vector<Hypothesis> stored;
  const Trie* trie = nullptr;
  bool done = false;
};

class Search {
 public:
  Search(int64_t samples, const BeamOptions& options, const std::vector<const Trie*>& tries)
      : options_(options), samples_(static_cast<size_t>(samples)) {
    for (size_t i = 0; i < samples_.size(); ++i) {
      samples_[i].beams.resize(static_cast<size_t>(options.beams));
      samples_[i].beams[0].score = 0;
      if (!tries.empty()) samples_[i].trie = tries[i];
    }
    tokens_.assign(static_cast<size_t>(samples * options.beams), options.start);
    origin_.resize(tokens_.size());
    std::iota(origin_.begin(), origin_.end(), 0);
  }

  std::vector<std::vector<Hypothesis>> Run(const StepFunction& step, bool constrained) {
    for (int64_t length = 1; length <= options_.max_new_tokens; ++length) {
      const at::Tensor logits = step(at::tensor(tokens_), at::tensor(origin_));
      auto candidates = constrained ? AllowedCandidates(logits) : FreeCandidates(logits);
      bool all_done = true;
      for (size_t i = 0; i < samples_.size(); ++i) {
        if (!samples_[i].done) Advance(i, candidates[i], length);
        all_done = all_done && samples_[i].done;
      }
      if (all_done) break;
    }
    std::vector<std::vector<Hypothesis>> out;
    for (Sample& sample : samples_) out.push_back(Finish(sample));
    return out;
  }

 private:
  using Candidates =
      std::vector<std::vector<Candidate>>;  // per sample, the best 2 * beams, in order

  Candidates FreeCandidates(const at::Tensor& logits) const {
    const int64_t samples = static_cast<int64_t>(samples_.size()), vocabulary = logits.size(1);
    std::vector<float> scores;
    for (const Sample& sample : samples_) {
      for (const Beam& beam : sample.beams) scores.push_back(beam.score);
    }
    const at::Tensor totals = at::log_softmax(logits, 1, at::kFloat)
                                  .add_(at::tensor(scores).to(logits.device()).unsqueeze(1))
                                  .view({samples, -1});
    const auto [best, flat] = at::topk(totals, std::min(2 * options_.beams, totals.size(1)), 1);
    const at::Tensor best_host = best.cpu(), flat_host = flat.cpu();
    const float* value = best_host.const_data_ptr<float>();
    const int64_t* index = flat_host.const_data_ptr<int64_t>();
    Candidates out(samples_.size());
    for (auto& list : out) {
      for (int64_t r = 0; r < best.size(1); ++r, ++value, ++index) {
        list.push_back({*value, *index / vocabulary, *index % vocabulary});
      }
      std::sort(list.begin(), list.end(), Better);
    }
    return out;
  }

  // Only logits of allowed tokens are read; the normaliser runs over all tokens.
  Candidates AllowedCandidates(const at::Tensor& logits) const {
    Candidates out(samples_.size());
    std::vector<int64_t> rows, tokens;
    for (size_t i = 0; i < samples_.size(); ++i) {
      if (samples_[i].done) continue;
      for (int64_t b = 0; b < options_.beams; ++b) {
        const Beam& beam = samples_[i].beams[static_cast<size_t>(b)];
        if (beam.score == kNever) continue;
        for (const int64_t token : samples_[i].trie->Allowed(beam.node)) {
          out[i].push_back({beam.score, b, token});
          rows.push_back(static_cast<int64_t>(i) * options_.beams + b);
          tokens.push_back(token);
        }
      }
    }
    const at::Tensor all = logits.to(at::kFloat), row = at::tensor(rows).to(all.device());
    const at::Tensor picked =
        (all.flatten().index_select(0, row * all.size(1) + at::tensor(tokens).to(all.device())) -
         at::logsumexp(all, {1}).index_select(0, row))
            .cpu();
    const float* value = picked.const_data_ptr<float>();
    for (auto& list : out) {
      for (Candidate& candidate : list) candidate.score += *value++;
      const auto keep = std::min<size_t>(list.size(), static_cast<size_t>(2 * options_.beams));
      std::partial_sort(list.begin(), list.begin() + static_cast<int64_t>(keep), list.end(),
                        Better);
      list.resize(keep);
    }
    return out;
  }

  // One walk of 9.1 over the candidates of sample i; `length` counts the token now chosen.
  void Advance(size_t i, const std::vector<Candidate>& candidates, int64_t length) {
    Sample& sample = samples_[i];
    std::vector<Beam> next;
    for (size_t rank = 0; rank < candidates.size() && Size(next) < options_.beams; ++rank) {
      const auto [score, from, token] = candidates[rank];
      if (!(score > kNever)) break;
      const Beam& parent = sample.beams[static_cast<size_t>(from)];
      if (token == options_.eos) {
        if (static_cast<int64_t>(rank) < options_.beams)
          Store(sample, parent.tokens, score, length);
        continue;
      }
      const size_t row = i * static_cast<size_t>(options_.beams) + next.size();
      tokens_[row] = token;
      origin_[row] = static_cast<int64_t>(i) * options_.beams + from;
      next.push_back({parent.tokens, score,
                      sample.trie ? sample.trie->Child(parent.node, token) : Trie::kRoot});
      next.back().tokens.push_back(token);
    }
    sample.done = Size(sample.stored) >= options_.beams || next.empty();
    next.resize(static_cast<size_t>(options_.beams));  // rows left over stay at minus infinity
    sample.beams = std::move(next);
  }

  void Store(Sample& sample, const std::vector<int64_t>& tokens, double score,
             int64_t length) const {
    sample.stored.push_back(
        {tokens, score / std::pow(static_cast<double>(length), options_.length_penalty)});
    Rank(sample.stored, options_.beams);
  }

  std::vector<Hypothesis> Finish(Sample& sample) const {
    for (const Beam& beam : sample.beams) {  // cut at the limit; what a trie cuts is no entry of it
      if (sample.done || sample.trie || beam.score == kNever) break;
      Store(sample, beam.tokens, beam.score, Size(beam.tokens));
    }
    Rank(sample.stored, options_.returned);
    return std::move(sample.stored);
  }

  static void Rank(std::vector<Hypothesis>& list, int64_t keep) {
    std::stable_sort(list.begin(), list.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    if (Size(list) > keep) list.resize(static_cast<size_t>(keep));
  }

  template <typename T>
  static int64_t Size(const std::vector<T>& list) {
    return static_cast<int64_t>(list.size());
  }

  BeamOptions options_;
  std::vector<Sample> samples_;
  std::vector<int64_t> tokens_, origin_;  // what the next step of the model is asked
};

}  // namespace

std::vector<std::vector<Hypothesis>> BeamSearch(const StepFunction& step, int64_t samples,
                                                const BeamOptions& options,
                                                const std::vector<const Trie*>& tries) {
  WR_CHECK(tries.empty() || static_cast<int64_t>(tries.size()) == samples, tries.size(),
           " tries for ", samples, " samples");
  const c10::NoGradGuard no_grad;
  return Search(samples, options, tries).Run(step, !tries.empty());
}

}  // namespace whyrec::lm
