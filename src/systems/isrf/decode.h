// From beams to items: which numbers may be decoded, and what becomes of what was decoded
// (isrf 9.1).
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "proto/config.pb.h"
#include "src/lm/candidate_scores.h"
#include "src/systems/isrf/samples.h"
#include "src/systems/system.h"

namespace whyrec::systems {

// Except under FREE, probabilities are normalised over the pieces that occur in item
// numbers (isrf 13.6): a few hundred instead of 32,128. Tokens are then columns, positions in
// pieces(): 0 is the start, 1 is EOS in both worlds.
class NumberDecoder {
 public:
  NumberDecoder(const data::TrainView& train, const config::RunConfig& config, BatchMaker& batches,
                const text::Tokenizer& tokenizer);

  decode::BeamOptions Options(Task task) const;
  bool Restricted(Task task) const;
  bool Exact(Task task) const;  // candidates are scored, not searched
  const std::vector<int64_t>& pieces() const { return pieces_; }
  // One trie per query, or none for FREE. The pointers live as long as this object or until the
  // next call.
  std::vector<const decode::Trie*> Tries(Task task, const std::vector<Query>& queries);
  // The numbers of each query's candidates.
  std::vector<lm::Candidates> CandidateColumns(const std::vector<Query>& queries);
  // Item rows of one query's hypotheses, best first, -1 where the text is no item's number; history
  // dropped and missing places filled as the configuration says. At most ten.
  std::vector<int64_t> Items(Task task, const Query& query,
                             const std::vector<decode::Hypothesis>& hypotheses) const;

 private:
  int64_t ItemOf(Task task, std::vector<int64_t> tokens) const;
  std::vector<int64_t> Columns(int64_t item);

  const data::TrainView& train_;
  const config::RunConfig& config_;
  BatchMaker& batches_;
  const text::Tokenizer& tokenizer_;
  std::vector<int64_t> pieces_ = {0, 1};
  std::unordered_map<int64_t, int64_t> columns_;
  decode::Trie all_items_;
  std::vector<decode::Trie> candidates_;
};

}  // namespace whyrec::systems
