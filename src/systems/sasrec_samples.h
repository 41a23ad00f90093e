// Training sequences of SASRec: functions of the global sample number alone.
#pragma once

#include <span>
#include <vector>

#include "src/data/samplers.h"
#include "src/systems/sasrec_network.h"

namespace whyrec::systems {

// Part of a global batch: the targets of its events, and one negative each.
struct SasRecSamples {
  SasRecBatch batch;
  std::vector<int64_t> events;     // [n] of the batch, those with a target
  std::vector<int64_t> positives;  // [n] rows of the item table
  std::vector<int64_t> negatives;  // [n] likewise
};

// Sum over the targets of -log s(h . e+) - log(1 - s(h . e-)), s the sigmoid; with `full_softmax`
// of -log softmax(h . E)[+] over all items (pulse 1). `draws`: of the sequences, in training. ->
// scalar
at::Tensor LossSum(const SasRecNetwork& network, const SasRecSamples& samples, bool full_softmax,
                   const nn::Draws& draws);

class SasRecSource {
 public:
  // `every_user` once a pass, in shuffled order; else users are drawn with replacement. Users of
  // fewer than two events are replaced by others. Error(kData) where no user has two, or one
  // excludes all items from its negatives.
  SasRecSource(const store::Ragged<int64_t>& histories, const store::Ragged<int64_t>& exclusion,
               int64_t items, uint64_t seed, bool every_user);

  // Samples [begin, end) as sequences of the network: the newest L events before the last one, each
  // with the event after it as its target.
  SasRecSamples Draw(int64_t begin, int64_t end, const SasRecNetwork& network);
  // Targets in samples [begin, end).
  int64_t CountTargets(int64_t begin, int64_t end, int64_t length);

 private:
  int64_t Negative(int64_t user, Rng& rng) const;  // a uniform item that the user does not exclude
  int64_t User(int64_t sample, Rng& rng);

  const store::Ragged<int64_t>& histories_;
  store::Ragged<int64_t> excluded_;  // sorted, by user
  int64_t items_;
  uint64_t seed_;
  bool every_user_;
  data::CursorSampler passes_;
};

}  // namespace whyrec::systems
