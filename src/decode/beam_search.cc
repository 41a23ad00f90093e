#include "src/decode/beam_search.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <tuple>
#include <utility>

#include "src/base/error.h"
#include "src/decode/shortlist.h"
#include "src/decode/step_batch.h"
#include "src/tensor/parallel.h"

namespace whyrec::decode {
namespace {

struct Beam {
  float score = kNever;  // sum of log probabilities, less what diversity took
  int64_t last = -1;     // its last token in Sample::chosen
  int64_t node = Trie::kRoot;
};

struct BeamGroup {
  std::vector<Beam> beams;
  std::vector<Hypothesis> stored;
  bool done = false;
};

struct Chosen {
  int64_t token, before;  // the token before it in Sample::chosen, -1: none
};

struct Sample {
  std::vector<BeamGroup> groups;
  std::vector<Chosen> chosen;  // all tokens of all beams that ever were
  const Trie* trie = nullptr;
};

struct Candidate {
  float score;
  int64_t beam, token;
};

// Best first; equal scores by beam, then token.
bool Better(const Candidate& a, const Candidate& b) {
  return std::tie(b.score, a.beam, a.token) < std::tie(a.score, b.beam, b.token);
}

template <typename T>
int64_t Size(const std::vector<T>& list) {
  return static_cast<int64_t>(list.size());
}

void Rank(std::vector<Hypothesis>& list, int64_t keep) {
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (Size(list) > keep) list.resize(static_cast<size_t>(keep));
}

class Search {
 public:
  Search(int64_t samples, const BeamOptions& options, const std::vector<const Trie*>& tries)
      : options_(options),
        group_size_(options.beams / options.groups),
        batch_(samples, options.beams, options.start, options.compact_share),
        samples_(static_cast<size_t>(samples)),
        done_(samples_.size()) {
    for (size_t i = 0; i < samples_.size(); ++i) {
      samples_[i].groups.resize(static_cast<size_t>(options.groups));
      for (BeamGroup& group : samples_[i].groups) {
        group.beams.resize(static_cast<size_t>(group_size_));
        group.beams[0].score = 0;
      }
      if (!tries.empty()) samples_[i].trie = tries[i];
    }
  }

  std::vector<std::vector<Hypothesis>> Run(const StepFunction& step, bool constrained) {
    for (int64_t length = 1; length <= options_.max_new_tokens; ++length) {
      const at::Tensor logits = step(batch_.Input());
      WR_CHECK(logits.size(0) == batch_.rows(), logits.size(0), " rows of logits, not ",
               batch_.rows());
      const std::vector<float> scores = RowScores();
      const Shortlist list = constrained ? PickTokens(logits, AllowedTokens())
                                         : TopTokens(logits, ShortlistLength(), scores);
      CheckFinite(list, scores);
      tensor::ParallelFor(Size(batch_.samples()), [&](int64_t begin, int64_t end) {
        for (int64_t at = begin; at < end; ++at) Advance(static_cast<size_t>(at), list, length);
      });
      for (const size_t i : batch_.samples()) {
        const auto& groups = samples_[i].groups;
        done_[i] =
            std::all_of(groups.begin(), groups.end(), [](const BeamGroup& g) { return g.done; });
      }
      if (!batch_.Next(done_)) break;
    }
    std::vector<std::vector<Hypothesis>> out;
    for (Sample& sample : samples_) out.push_back(Finish(sample));
    return out;
  }

 private:
  // Within its sample: at the first step all beams share one row.
  int64_t RowOf(int64_t group, int64_t beam) const {
    return batch_.width() == 1 ? 0 : group * group_size_ + beam;
  }

  // Calls visit(row, sample, beam) for every live beam of the batch.
  template <typename Visit>
  void ForLiveBeams(const Visit& visit) const {
    for (size_t at = 0; at < batch_.samples().size(); ++at) {
      const Sample& sample = samples_[batch_.samples()[at]];
      for (int64_t g = 0; g < options_.groups; ++g) {
        const BeamGroup& group = sample.groups[static_cast<size_t>(g)];
        for (int64_t b = 0; b < group_size_ && !group.done; ++b) {
          const Beam& beam = group.beams[static_cast<size_t>(b)];
          if (beam.score == kNever) continue;
          const int64_t row = static_cast<int64_t>(at) * batch_.width() + RowOf(g, b);
          visit(static_cast<size_t>(row), sample, beam);
        }
      }
    }
  }

  // The score of each row's beam; minus infinity: the row is not used.
  std::vector<float> RowScores() const {
    std::vector<float> scores(static_cast<size_t>(batch_.rows()), kNever);
    ForLiveBeams([&](size_t row, const Sample&, const Beam& beam) { scores[row] = beam.score; });
    return scores;
  }

  std::vector<std::span<const int64_t>> AllowedTokens() const {
    std::vector<std::span<const int64_t>> allowed(static_cast<size_t>(batch_.rows()));
    ForLiveBeams([&](size_t row, const Sample& sample, const Beam& beam) {
      allowed[row] = sample.trie->Allowed(beam.node);
    });
    return allowed;
  }

  // Enough tokens of a row that its best 2 * group_size_ are among them whatever EOS and the tokens
  // of earlier groups lose.
  int64_t ShortlistLength() const {
    return 2 * group_size_ + (options_.min_new_tokens > 0 ? 1 : 0) + options_.beams - group_size_;
  }

  static void CheckFinite(const Shortlist& list, const std::vector<float>& scores) {
    for (size_t row = 0; row < scores.size(); ++row) {
      if (scores[row] != kNever && !std::isfinite(list.normaliser[row]))
        Fail(Exit::kData, "beam search: the network's logits hold NaN or infinity (row ", row,
             "); look at its weights and at the precision it runs in");
    }
  }

  // One step of the sample at place `at` of the batch; `length` counts the token now chosen.
  void Advance(size_t at, const Shortlist& list, int64_t length) {
    Sample& sample = samples_[batch_.samples()[at]];
    std::vector<int64_t> earlier;  // tokens that earlier groups chose in this step
    for (int64_t g = 0; g < options_.groups; ++g) {
      BeamGroup& group = sample.groups[static_cast<size_t>(g)];
      if (group.done) {
        earlier.insert(earlier.end(), static_cast<size_t>(group_size_), options_.start);
      } else {
        Walk(at, g, Candidates(at, g, list, earlier, length), length, earlier);
      }
    }
  }

  // The best 2 * group_size_ continuations of a group, in order.
  std::vector<Candidate> Candidates(size_t at, int64_t g, const Shortlist& list,
                                    const std::vector<int64_t>& earlier, int64_t length) const {
    const BeamGroup& group = samples_[batch_.samples()[at]].groups[static_cast<size_t>(g)];
    const auto diversity = static_cast<float>(options_.diversity);
    std::vector<Candidate> out;
    for (int64_t b = 0; b < group_size_; ++b) {
      const float score = group.beams[static_cast<size_t>(b)].score;
      if (score == kNever) continue;
      const int64_t row = static_cast<int64_t>(at) * batch_.width() + RowOf(g, b);
      for (size_t e = list.first[static_cast<size_t>(row)];
           e < list.first[static_cast<size_t>(row) + 1]; ++e) {
        const int64_t token = list.tokens[e];
        if (token == options_.eos && length <= options_.min_new_tokens) continue;
        float gain = list.LogProbability(row, e);
        if (!(gain > kNever)) continue;
        const auto taken = std::count(earlier.begin(), earlier.end(), token);
        if (taken > 0) gain -= diversity * static_cast<float>(taken);
        out.push_back({gain + score, b, token});
      }
    }
    const auto keep =
        static_cast<int64_t>(std::min(out.size(), static_cast<size_t>(2 * group_size_)));
    std::partial_sort(out.begin(), out.begin() + keep, out.end(), Better);
    out.resize(static_cast<size_t>(keep));
    return out;
  }

  // Walks over a group's candidates, best first: keeps hypotheses that ended, fills the next beams.
  // Appends the chosen tokens to `earlier`.
  void Walk(size_t at, int64_t g, const std::vector<Candidate>& candidates, int64_t length,
            std::vector<int64_t>& earlier) {
    Sample& sample = samples_[batch_.samples()[at]];
    BeamGroup& group = sample.groups[static_cast<size_t>(g)];
    std::vector<Beam> next;
    for (size_t rank = 0; rank < candidates.size() && Size(next) < group_size_; ++rank) {
      const auto [score, from, token] = candidates[rank];
      const Beam& parent = group.beams[static_cast<size_t>(from)];
      if (token == options_.eos) {
        if (static_cast<int64_t>(rank) < group_size_) Store(sample, group, parent, score, length);
        continue;
      }
      batch_.Set(at, g * group_size_ + Size(next), RowOf(g, from), token);
      earlier.push_back(token);
      const int64_t node = sample.trie ? sample.trie->Child(parent.node, token) : Trie::kRoot;
      next.push_back({score, Size(sample.chosen), node});
      sample.chosen.push_back({token, parent.last});
    }
    group.done = Size(group.stored) >= group_size_ || next.empty();
    next.resize(static_cast<size_t>(group_size_));  // rows left over stay at minus infinity
    group.beams = std::move(next);
  }

  void Store(const Sample& sample, BeamGroup& group, const Beam& beam, double score,
             int64_t length) const {
    Hypothesis found;
    for (int64_t i = beam.last; i >= 0; i = sample.chosen[static_cast<size_t>(i)].before) {
      found.tokens.push_back(sample.chosen[static_cast<size_t>(i)].token);
    }
    std::reverse(found.tokens.begin(), found.tokens.end());
    found.finished = Size(found.tokens) < length;  // EOS is counted, but not kept
    found.score = score / std::pow(static_cast<double>(length), options_.length_penalty);
    group.stored.push_back(std::move(found));
    Rank(group.stored, group_size_);
  }

  std::vector<Hypothesis> Finish(Sample& sample) const {
    std::vector<Hypothesis> all;
    for (BeamGroup& group : sample.groups) {
      // Beams that are unfinished at the limit; with a trie these are not whole entries.
      for (const Beam& beam : group.beams) {
        if (group.done || sample.trie || beam.score == kNever) break;
        Store(sample, group, beam, beam.score, options_.max_new_tokens);
      }
      std::move(group.stored.begin(), group.stored.end(), std::back_inserter(all));
    }
    Rank(all, options_.returned);
    return all;
  }

  BeamOptions options_;
  int64_t group_size_;
  StepBatch batch_;
  std::vector<Sample> samples_;
  std::vector<bool> done_;
};

// With diversity 0 all groups are equal: one search, whose hypotheses are repeated.
std::vector<std::vector<Hypothesis>> SearchOneOfEqualGroups(const StepFunction& step,
                                                            int64_t samples, BeamOptions options,
                                                            const std::vector<const Trie*>& tries) {
  const auto copies = static_cast<size_t>(std::exchange(options.groups, 1));
  const auto returned = static_cast<size_t>(options.returned);
  options.beams /= static_cast<int64_t>(copies);
  options.returned = static_cast<int64_t>((returned + copies - 1) / copies);
  auto out = BeamSearch(step, samples, options, tries);
  for (auto& list : out) {
    std::vector<Hypothesis> repeated;
    for (const Hypothesis& hypothesis : list) repeated.insert(repeated.end(), copies, hypothesis);
    repeated.resize(std::min(repeated.size(), returned));
    list = std::move(repeated);
  }
  return out;
}

}  // namespace

std::vector<std::vector<Hypothesis>> BeamSearch(const StepFunction& step, int64_t samples,
                                                const BeamOptions& options,
                                                const std::vector<const Trie*>& tries) {
  WR_CHECK(tries.empty() || Size(tries) == samples, tries.size(), " tries for ", samples,
           " samples");
  WR_CHECK(options.groups > 0 && options.beams % options.groups == 0 && options.diversity >= 0,
           options.beams, " beams in ", options.groups, " groups, diversity ", options.diversity);
  if (options.groups > 1 && options.diversity == 0)
    return SearchOneOfEqualGroups(step, samples, options, tries);
  const c10::NoGradGuard no_grad;
  return Search(samples, options, tries).Run(step, !tries.empty());
}

}  // namespace whyrec::decode
