// From beams to items: which item numbers may be decoded, and how decoded texts become item rows.
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

// Except under FREE, probabilities are normalised over the pieces that occur in item numbers: a few
// hundred instead of 32,128, which makes the output layer cheap. Tokens are then columns: positions
// in pieces(). 0 is the start token and 1 is EOS, as ids and as columns.
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
  // Item rows of one query's hypotheses, best first, -1 where the text is not an item's number.
  // Items of the history are dropped and missing places filled as the configuration says. At most
  // ten.
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
