// Training examples of scoring systems: what each sample reads and what it has to predict. Samples
// are numbered over all steps, and each is a function of (seed, number): any rank can make any
// sample, and a resumed run needs no state. No LibTorch types here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/data/samplers.h"

namespace whyrec::ranking {

// B samples with n targets in all; rows of users and items, by sample.
struct Examples {
  std::vector<int64_t> users;      // [B]
  Ragged<int64_t> inputs;          // [B] items that are read, oldest first; none in pairs
  Ragged<int64_t> positives;       // [B] targets: what follows each of the last inputs
  std::vector<int64_t> negatives;  // [n, k] of each target in turn
  int64_t step = 0, batch = 0;     // whose they are, and the samples of its global batch

  int64_t size() const { return std::ssize(users); }
  int64_t targets() const { return std::ssize(positives.values); }

  // Contrasts are over the distinct users and items of the whole global batch. Anchors are cut into
  // slices [begin, end) like its samples; every anchor belongs to one pass of one rank.
  struct Distinct {
    std::vector<int64_t> rows;   // ascending
    int64_t begin = 0, end = 0;  // this pass's anchors, places in `rows`
  };
  Distinct batch_users, batch_items;  // where the scorer asks for them (Scorer::contrasts)
};

// The items that must not be negatives of a user, and uniform draws from the others.
class Negatives {
 public:
  // `excluded` by user row, in any order. Error(kData) where a user has all items.
  Negatives(const Ragged<int64_t>& excluded, int64_t items);
  int64_t Draw(int64_t user, Rng& rng) const;  // uniform over what is left
  int64_t items() const { return items_; }

 private:
  Ragged<int64_t> excluded_;  // sorted, distinct
  int64_t items_;
};

// Negatives by popularity: item x with probability (c(x) + 1)^power / sum, c its training events.
class PopularNegatives {
 public:
  PopularNegatives(const Ragged<int64_t>& histories, int64_t items, double power);
  int64_t Draw(Rng& rng) const;
  // log q of an item, what a sampled softmax subtracts from its logit.
  double LogProbability(int64_t item) const;

 private:
  std::vector<double> sums_;  // cumulative probability
};

// What samplers share. `name` keys the random streams; `length`: newest events that are read.
struct SamplerOptions {
  std::string name;
  uint64_t seed = 0;
  int64_t length = 50;
  int64_t negatives = 1;    // of each target
  bool every_user = false;  // NextItem: each user once a pass, else users drawn with replacement
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual Examples Draw(int64_t begin, int64_t end) = 0;  // samples begin .. end - 1
  // Targets of these samples: what their loss is divided by.
  virtual int64_t CountTargets(int64_t begin, int64_t end) = 0;
  virtual int64_t EpochSteps(int64_t batch) const = 0;  // steps of about one pass over the data
};

// SEQ: a user's events but the last, each predicting the one after it (SASRec). Users with fewer
// than two events are never drawn; Error(kData) where there are no others.
std::unique_ptr<Sampler> NextItem(const Ragged<int64_t>& histories, const Ragged<int64_t>& excluded,
                                  int64_t items, const SamplerOptions& options);
// PREFIX: every beginning of every history predicts the event after it (RecBole); shuffled passes.
std::unique_ptr<Sampler> Prefix(const Ragged<int64_t>& histories, const Ragged<int64_t>& excluded,
                                int64_t items, const SamplerOptions& options);
// WINDOW: every run of `length` events (of fewer at a history's beginning) predicts the next
// `targets` together (Caser, HGN); shuffled passes.
std::unique_ptr<Sampler> Window(const Ragged<int64_t>& histories, const Ragged<int64_t>& excluded,
                                int64_t items, int64_t targets, const SamplerOptions& options);
// PAIR: a uniform user, a uniform one of the user's positives, and one uniform negative that is
// neither a positive nor excluded (BPR). No inputs.
std::unique_ptr<Sampler> Pair(const Ragged<int64_t>& positives, const Ragged<int64_t>& excluded,
                              int64_t items, uint64_t seed);

}  // namespace whyrec::ranking
