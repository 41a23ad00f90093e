#include "src/systems/sasrec_samples.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/log_sigmoid.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/nn/losses.h"

namespace whyrec::systems {
namespace {

Rng SampleRng(uint64_t seed, int64_t sample) {
  return Rng(seed, "sasrec samples", 0, static_cast<uint64_t>(sample));
}

}  // namespace

at::Tensor LossSum(const SasRecNetwork& network, const SasRecSamples& samples, bool full_softmax,
                   const nn::Draws& draws) {
  const int64_t events = samples.batch.events(), targets = std::ssize(samples.events);
  std::vector<int64_t> rows = samples.batch.rows;
  if (!full_softmax) {
    rows.insert(rows.end(), samples.positives.begin(), samples.positives.end());
    rows.insert(rows.end(), samples.negatives.begin(), samples.negatives.end());
  }
  const at::Tensor all = network.Rows(network.Indices(rows));  // one gradient of the table
  at::Tensor h = network.States(all.narrow(0, 0, events), samples.batch, draws);
  if (events != targets) h = at::embedding(h, network.Indices(samples.events));
  if (full_softmax)
    return nn::TextLoss(network.ItemScores(h), network.Indices(samples.positives) - 1, false).sum;
  const auto scores = [&](int64_t first) { return (h * all.narrow(0, first, targets)).sum(1); };
  return -(at::log_sigmoid(scores(events)) + at::log_sigmoid(-scores(events + targets))).sum();
}

SasRecSource::SasRecSource(const store::Ragged<int64_t>& histories,
                           const store::Ragged<int64_t>& exclusion, int64_t items, uint64_t seed,
                           bool every_user)
    : histories_(histories),
      items_(items),
      seed_(seed),
      every_user_(every_user),
      passes_(histories.rows(), seed, "sasrec users", /*shuffle_first_pass=*/true) {
  bool usable = false;
  for (int64_t user = 0; user < histories.rows(); ++user) {
    std::vector<int64_t> row(exclusion.row(user).begin(), exclusion.row(user).end());
    std::ranges::sort(row);
    row.erase(std::ranges::unique(row).begin(), row.end());
    if (std::ssize(row) >= items)
      Fail(Exit::kData, "user row ", user, " has all ", items,
           " items in its history: no negative is left to train with");
    excluded_.Append(row);
    usable |= std::ssize(histories.row(user)) >= 2;
  }
  if (!usable)
    Fail(Exit::kData,
         "no user has two training events, so there is no next event to learn from; "
         "sasrec needs users of four events or more");
}

int64_t SasRecSource::User(int64_t sample, Rng& rng) {
  const auto users = static_cast<uint64_t>(histories_.rows());
  int64_t user = every_user_ ? passes_.At(sample) : static_cast<int64_t>(rng.Below(users));
  while (std::ssize(histories_.row(user)) < 2) user = static_cast<int64_t>(rng.Below(users));
  return user;
}

int64_t SasRecSource::Negative(int64_t user, Rng& rng) const {
  const auto row = excluded_.row(user);
  for (;;) {
    const auto item = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(items_)));
    if (!std::ranges::binary_search(row, item)) return item;
  }
}

int64_t SasRecSource::CountTargets(int64_t begin, int64_t end, int64_t length) {
  int64_t count = 0;
  for (int64_t sample = begin; sample < end; ++sample) {
    Rng rng = SampleRng(seed_, sample);
    count += std::min<int64_t>(length, std::ssize(histories_.row(User(sample, rng))) - 1);
  }
  return count;
}

SasRecSamples SasRecSource::Draw(int64_t begin, int64_t end, const SasRecNetwork& network) {
  SasRecSamples out;
  for (int64_t sample = begin; sample < end; ++sample) {
    Rng rng = SampleRng(seed_, sample);
    const int64_t user = User(sample, rng);
    const std::span<const int64_t> history = histories_.row(user);
    network.Append(history.first(history.size() - 1), /*padded=*/true, out.batch);
    const int64_t count = std::min<int64_t>(network.config().length, std::ssize(history) - 1);
    for (int64_t i = 0; i < count; ++i) {
      out.events.push_back(out.batch.events() - count + i);
      out.positives.push_back(history[history.size() - count + i] + 1);
      out.negatives.push_back(Negative(user, rng) + 1);
    }
  }
  return out;
}

}  // namespace whyrec::systems
