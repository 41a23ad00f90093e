#include "src/ranking/samplers.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/base/ragged.h"

namespace whyrec::ranking {
namespace {

using Rows = Ragged<int64_t>;

Rng SampleRng(const SamplerOptions& options, int64_t sample) {
  return Rng(options.seed, options.name + " samples", 0, static_cast<uint64_t>(sample));
}

int64_t Batches(int64_t samples, int64_t batch) { return (samples + batch - 1) / batch; }

// What the samplers of sequences share: which events a sample reads and predicts.
class Sequences : public Sampler {
 public:
  Sequences(const Rows& histories, const Rows& excluded, int64_t items,
            const SamplerOptions& options)
      : histories_(histories), options_(options), negatives_(excluded, items) {}

  Examples Draw(int64_t begin, int64_t end) final {
    Examples out;
    for (int64_t sample = begin; sample < end; ++sample) {
      Rng rng = SampleRng(options_, sample);
      const Cut cut = Of(sample, rng);
      const auto history = histories_.row(cut.user);
      out.users.push_back(cut.user);
      out.inputs.Append(history.subspan(cut.first, cut.inputs));
      out.positives.Append(history.subspan(cut.target, cut.targets));
      for (size_t i = 0; i < cut.targets * static_cast<size_t>(options_.negatives); ++i)
        out.negatives.push_back(negatives_.Draw(cut.user, rng));
    }
    return out;
  }

  int64_t CountTargets(int64_t begin, int64_t end) final {
    int64_t count = 0;
    for (int64_t sample = begin; sample < end; ++sample) {
      Rng rng = SampleRng(options_, sample);
      count += static_cast<int64_t>(Of(sample, rng).targets);
    }
    return count;
  }

 protected:
  // Events of a user: the inputs are first .. first + inputs - 1.
  struct Cut {
    int64_t user;
    size_t first, inputs, target, targets;
  };
  virtual Cut Of(int64_t sample, Rng& rng) = 0;

  const Rows& histories_;
  const SamplerOptions options_;

 private:
  Negatives negatives_;
};

[[noreturn]] void NothingToLearn(const std::string& name) {
  Fail(Exit::kData, "no user has two training events, so there is no next event to learn from; ",
       name, " needs users of four events or more");
}

class NextItemSampler final : public Sequences {
 public:
  NextItemSampler(const Rows& histories, const Rows& excluded, int64_t items,
                  const SamplerOptions& options)
      : Sequences(histories, excluded, items, options),
        passes_(histories.rows(), options.seed, options.name + " users",
                /*shuffle_first_pass=*/true) {
    for (int64_t user = 0; user < histories.rows(); ++user)
      if (histories.row(user).size() >= 2) return;
    NothingToLearn(options.name);
  }

  // As the public code counts them: users left over by whole batches wait for the next epoch.
  int64_t EpochSteps(int64_t batch) const override {
    return std::max<int64_t>(1, histories_.rows() / batch);
  }

 private:
  Cut Of(int64_t sample, Rng& rng) override {
    const auto users = static_cast<uint64_t>(histories_.rows());
    int64_t user =
        options_.every_user ? passes_.At(sample) : static_cast<int64_t>(rng.Below(users));
    while (histories_.row(user).size() < 2) user = static_cast<int64_t>(rng.Below(users));
    const size_t events = histories_.row(user).size() - 1;
    const size_t count = std::min(events, static_cast<size_t>(options_.length));
    return {user, events - count, count, events - count + 1, count};
  }

  data::CursorSampler passes_;
};

// One sample for every event that has another before it.
class PlaceSampler final : public Sequences {
 public:
  PlaceSampler(const Rows& histories, const Rows& excluded, int64_t items, int64_t targets,
               const SamplerOptions& options)
      : Sequences(histories, excluded, items, options), targets_(static_cast<size_t>(targets)) {
    for (int64_t user = 0; user < histories.rows(); ++user) {
      const size_t events = histories.row(user).size();
      for (size_t target = 1; target + targets_ <= events; ++target)
        places_.push_back({user, target});
    }
    if (places_.empty()) NothingToLearn(options.name);
    passes_ = std::make_unique<data::CursorSampler>(std::ssize(places_), options.seed,
                                                    options.name + " places", true);
  }

  int64_t EpochSteps(int64_t batch) const override { return Batches(std::ssize(places_), batch); }

 private:
  Cut Of(int64_t sample, Rng&) override {
    const auto [user, target] = places_[static_cast<size_t>(passes_->At(sample))];
    const size_t inputs = std::min(target, static_cast<size_t>(options_.length));
    return {user, target - inputs, inputs, target, targets_};
  }

  size_t targets_;
  std::vector<std::pair<int64_t, size_t>> places_;  // user and first target
  std::unique_ptr<data::CursorSampler> passes_;
};

class PairSampler final : public Sampler {
 public:
  PairSampler(const Rows& positives, const Rows& excluded, int64_t items, uint64_t seed)
      : positives_(positives), items_(items), seed_(seed) {
    for (int64_t user = 0; user < positives.rows(); ++user) {
      if (!positives.row(user).empty()) users_.push_back(user);
      std::vector<int64_t> avoided(positives.row(user).begin(), positives.row(user).end());
      avoided.insert(avoided.end(), excluded.row(user).begin(), excluded.row(user).end());
      avoided_.Append(avoided);
    }
    if (users_.empty())
      Fail(Exit::kData, "no user has a training event: there is nothing to learn");
  }

  Examples Draw(int64_t begin, int64_t end) override {
    Examples out;
    for (int64_t sample = begin; sample < end; ++sample) {
      Rng rng(seed_, "pairs", 0, static_cast<uint64_t>(sample));
      const int64_t user = users_[rng.Below(users_.size())];
      const auto items = positives_.row(user);
      const int64_t liked = items[rng.Below(items.size())];
      out.users.push_back(user);
      out.inputs.Append(std::span<const int64_t>());
      out.positives.Append(std::span(&liked, 1));
      out.negatives.push_back(data::DrawNegatives(items_, avoided_.row(user), 1, rng)[0]);
    }
    return out;
  }

  int64_t CountTargets(int64_t begin, int64_t end) override { return end - begin; }
  int64_t EpochSteps(int64_t batch) const override {
    return Batches(std::ssize(positives_.values), batch);
  }

 private:
  const Rows& positives_;
  Rows avoided_;
  std::vector<int64_t> users_;  // with positives
  int64_t items_;
  uint64_t seed_;
};

}  // namespace

Negatives::Negatives(const Rows& excluded, int64_t items) : items_(items) {
  for (int64_t user = 0; user < excluded.rows(); ++user) {
    std::vector<int64_t> row(excluded.row(user).begin(), excluded.row(user).end());
    std::ranges::sort(row);
    row.erase(std::ranges::unique(row).begin(), row.end());
    if (std::ssize(row) >= items)
      Fail(Exit::kData, "user row ", user, " has all ", items,
           " items in its history: no negative is left to train with");
    excluded_.Append(row);
  }
}

int64_t Negatives::Draw(int64_t user, Rng& rng) const {
  const auto row = excluded_.row(user);
  for (;;) {
    const auto item = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(items_)));
    if (!std::ranges::binary_search(row, item)) return item;
  }
}

PopularNegatives::PopularNegatives(const Rows& histories, int64_t items, double power) {
  std::vector<double> counts(static_cast<size_t>(items), 1);
  for (const int64_t item : histories.values) ++counts[static_cast<size_t>(item)];
  double sum = 0;
  for (double& count : counts) sums_.push_back(sum += std::pow(count, power));
  for (double& value : sums_) value /= sum;
}

int64_t PopularNegatives::Draw(Rng& rng) const {
  const auto found = std::ranges::upper_bound(sums_, rng.Uniform());
  return std::min<int64_t>(found - sums_.begin(), std::ssize(sums_) - 1);
}

double PopularNegatives::LogProbability(int64_t item) const {
  const auto i = static_cast<size_t>(item);
  return std::log(sums_[i] - (i == 0 ? 0 : sums_[i - 1]));
}

std::unique_ptr<Sampler> NextItem(const Rows& histories, const Rows& excluded, int64_t items,
                                  const SamplerOptions& options) {
  return std::make_unique<NextItemSampler>(histories, excluded, items, options);
}

std::unique_ptr<Sampler> Prefix(const Rows& histories, const Rows& excluded, int64_t items,
                                const SamplerOptions& options) {
  return std::make_unique<PlaceSampler>(histories, excluded, items, 1, options);
}

std::unique_ptr<Sampler> Window(const Rows& histories, const Rows& excluded, int64_t items,
                                int64_t targets, const SamplerOptions& options) {
  return std::make_unique<PlaceSampler>(histories, excluded, items, targets, options);
}

std::unique_ptr<Sampler> Pair(const Rows& positives, const Rows& excluded, int64_t items,
                              uint64_t seed) {
  return std::make_unique<PairSampler>(positives, excluded, items, seed);
}

}  // namespace whyrec::ranking
