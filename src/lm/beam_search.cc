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
#include <span>
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
    batch_.resize(samples_.size());
    std::iota(batch_.begin(), batch_.end(), 0);
    tokens_.assign(samples_.size(), options.start);
  }

  std::vector<std::vector<Hypothesis>> Run(const StepFunction& step, bool constrained) {
    for (int64_t length = 1; length <= options_.max_new_tokens; ++length) {
      const at::Tensor logits = step(Input());
      auto candidates = constrained ? AllowedCandidates(logits) : FreeCandidates(logits);
      tokens_.clear();
      origin_.clear();
      for (size_t at = 0; at < batch_.size(); ++at) {
        Sample& sample = samples_[batch_[at]];
        if (!sample.done) Advance(sample, at, candidates[at], length);
        PadRows(at);
      }
      width_ = options_.beams;
      if (!Compact()) break;
    }
    std::vector<std::vector<Hypothesis>> out;
    for (Sample& sample : samples_) out.push_back(Finish(sample));
    return out;
  }

 private:
  using Candidates =
      std::vector<std::vector<Candidate>>;  // per sample, the best 2 * beams, in order

  StepInput Input() const {
    StepInput input{.tokens = at::tensor(tokens_), .origin = {}, .width = width_, .kept = kept_};
    if (!origin_.empty()) input.origin = at::tensor(origin_);
    return input;
  }

  // Tells the network to drop finished samples when they are many enough; false when none is left.
  bool Compact() {
    std::vector<int64_t> kept;
    for (size_t at = 0; at < batch_.size(); ++at) {
      if (!samples_[batch_[at]].done) kept.push_back(static_cast<int64_t>(at));
    }
    const auto finished = static_cast<double>(batch_.size() - kept.size());
    kept_ = at::Tensor();
    if (finished == 0 || finished < options_.compact_share * static_cast<double>(batch_.size()))
      return !kept.empty();
    const int64_t width = width_;
    for (size_t i = 0; i < kept.size(); ++i) {
      const auto from = kept[i] * width, to = static_cast<int64_t>(i) * width;
      std::copy_n(tokens_.begin() + from, width, tokens_.begin() + to);
      std::copy_n(origin_.begin() + from, width, origin_.begin() + to);
      batch_[i] = batch_[static_cast<size_t>(kept[i])];
    }
    batch_.resize(kept.size());
    tokens_.resize(kept.size() * static_cast<size_t>(width));
    origin_.resize(tokens_.size());
    kept_ = at::tensor(kept);
    return !kept.empty();
  }

  // The beams that the network scored for a sample: at the first step the one that stands for all.
  std::span<const Beam> Scored(const Sample& sample) const {
    return std::span(sample.beams).first(static_cast<size_t>(width_));
  }

  Candidates FreeCandidates(const at::Tensor& logits) const {
    const int64_t vocabulary = logits.size(1);
    std::vector<float> scores;
    for (const size_t i : batch_) {
      for (const Beam& beam : Scored(samples_[i])) scores.push_back(beam.score);
    }
    const at::Tensor totals = at::log_softmax(logits, 1, at::kFloat)
                                  .add_(at::tensor(scores).to(logits.device()).unsqueeze(1))
                                  .view({Size(batch_), -1});
    const auto [best, flat] = at::topk(totals, std::min(2 * options_.beams, totals.size(1)), 1);
    const at::Tensor best_host = best.cpu(), flat_host = flat.cpu();
    const float* value = best_host.const_data_ptr<float>();
    const int64_t* index = flat_host.const_data_ptr<int64_t>();
    Candidates out(batch_.size());
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
    Candidates out(batch_.size());
    std::vector<int64_t> rows, tokens;
    for (size_t at = 0; at < batch_.size(); ++at) {
      const Sample& sample = samples_[batch_[at]];
      if (sample.done) continue;
      for (int64_t b = 0; b < width_; ++b) {
        const Beam& beam = sample.beams[static_cast<size_t>(b)];
        if (beam.score == kNever) continue;
        for (const int64_t token : sample.trie->Allowed(beam.node)) {
          out[at].push_back({beam.score, b, token});
          rows.push_back(static_cast<int64_t>(at) * width_ + b);
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

  // One walk of 9.1 over the candidates of the sample at place `at` of the batch; `length` counts
  // the token now chosen.
  void Advance(Sample& sample, size_t at, const std::vector<Candidate>& candidates,
               int64_t length) {
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
      tokens_.push_back(token);
      origin_.push_back(static_cast<int64_t>(at) * width_ + from);
      next.push_back({parent.tokens, score,
                      sample.trie ? sample.trie->Child(parent.node, token) : Trie::kRoot});
      next.back().tokens.push_back(token);
    }
    sample.done = Size(sample.stored) >= options_.beams || next.empty();
    next.resize(static_cast<size_t>(options_.beams));  // rows left over stay at minus infinity
    sample.beams = std::move(next);
  }

  // Fills up the next step's rows of the sample at place `at`: nobody reads what comes of them.
  void PadRows(size_t at) {
    tokens_.resize((at + 1) * static_cast<size_t>(options_.beams), options_.start);
    origin_.resize(tokens_.size(), static_cast<int64_t>(at) * width_);
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
  std::vector<size_t> batch_;             // the samples in the network's batch, ascending
  std::vector<int64_t> tokens_, origin_;  // what the next step of the model is asked
  int64_t width_ = 1;                     // rows per sample of the last (or first) step
  at::Tensor kept_;
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
