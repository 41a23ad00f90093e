#include "src/systems/pairs.h"

#include "src/base/rng.h"
#include "src/data/samplers.h"

namespace whyrec::systems {

PairSource::PairSource(const store::Ragged<int64_t>& positives,
                       const store::Ragged<int64_t>& excluded, int64_t items, uint64_t seed)
    : positives_(positives), items_(items), seed_(seed) {
  for (int64_t user = 0; user < positives.rows(); ++user) {
    WR_CHECK(!positives.row(user).empty(), "user row ", user, " has no items");
    std::vector<int64_t> avoided(positives.row(user).begin(), positives.row(user).end());
    avoided.insert(avoided.end(), excluded.row(user).begin(), excluded.row(user).end());
    avoided_.Append(avoided);
  }
}

Pairs PairSource::Draw(int64_t begin, int64_t end) const {
  Pairs out;
  for (int64_t draw = begin; draw < end; ++draw) {
    Rng rng(seed_, "pairs", 0, static_cast<uint64_t>(draw));
    const auto user = static_cast<int64_t>(rng.Below(static_cast<uint64_t>(positives_.rows())));
    const auto items = positives_.row(user);
    out.users.push_back(user);
    out.positives.push_back(items[rng.Below(items.size())]);
    out.negatives.push_back(data::DrawNegatives(items_, avoided_.row(user), 1, rng)[0]);
  }
  return out;
}

}  // namespace whyrec::systems
