// Candidates scored exactly: one decoder pass over the tree of their prefixes, no search.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "src/decode/beam_search.h"
#include "src/lm/t5.h"

namespace whyrec::lm {

using Candidates = std::vector<std::vector<int64_t>>;  // of one sample; without start and EOS

struct CandidateOptions {
  double length_penalty = 1.0;
  // Not empty: tokens are positions in this list of vocabulary ids (as are start and EOS), and
  // probabilities are normalised over it, the start excepted, which is never an output.
  std::vector<int64_t> pieces;
  int64_t start = 0, eos = 1;
};

// The tree of the candidates' prefixes; paths[c] holds the nodes that predict the tokens of
// candidate c and its EOS, the root first.
struct CandidateTree {
  TokenTree tree;
  std::vector<std::vector<int64_t>> paths;
};
CandidateTree MergePrefixes(const Candidates& candidates, const CandidateOptions& options);

// Per sample and candidate the sum of the log probabilities of its tokens and EOS. memory [B,S,d]
// and its mask as in T5::Decode, one row per sample.
std::vector<std::vector<double>> CandidateScores(const T5& model, const at::Tensor& memory,
                                                 const std::optional<at::Tensor>& memory_mask,
                                                 std::span<const Candidates> candidates,
                                                 const CandidateOptions& options = {});

// The candidates of each sample, best first, with BeamSearch's scores: what it would return over
// their trie with beams enough.
std::vector<std::vector<decode::Hypothesis>> RankCandidates(
    const T5& model, const at::Tensor& memory, const std::optional<at::Tensor>& memory_mask,
    std::span<const Candidates> candidates, const CandidateOptions& options = {});

}  // namespace whyrec::lm
