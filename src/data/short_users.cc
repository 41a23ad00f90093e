// Users with too few items to split; see split.h.
#include <algorithm>

#include "src/base/error.h"
#include "src/data/split.h"

namespace whyrec::data {
namespace {

// `catalogue` without the users of some ascending rows; all items stay.
Catalogue Without(const std::vector<int64_t>& rows, const Catalogue& catalogue) {
  Catalogue out;
  out.dataset = catalogue.dataset;
  out.domain = catalogue.domain;
  out.items = catalogue.items;
  out.appearance = catalogue.appearance;
  std::vector<int64_t> new_row(catalogue.users.size(), -1);
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    if (std::ranges::binary_search(rows, u)) continue;
    new_row[static_cast<size_t>(u)] = out.user_count();
    out.users.push_back(catalogue.users[static_cast<size_t>(u)]);
    out.histories.Append(catalogue.histories.row(u));
    const auto begin = catalogue.histories.offsets[static_cast<size_t>(u)],
               end = catalogue.histories.offsets[static_cast<size_t>(u) + 1];
    const auto take = [&](const auto& from, auto& to) {
      if (!from.empty()) to.insert(to.end(), from.begin() + begin, from.begin() + end);
    };
    take(catalogue.times, out.times);
    take(catalogue.ratings, out.ratings);
    take(catalogue.reviews, out.reviews);
    if (catalogue.given_negatives.rows() > 0)
      out.given_negatives.Append(catalogue.given_negatives.row(u));
  }
  for (size_t part = 0; part < std::size(catalogue.explanations); ++part)
    for (ExplanationRecord record : catalogue.explanations[part]) {
      record.user = new_row[static_cast<size_t>(record.user)];
      if (record.user >= 0) out.explanations[part].push_back(std::move(record));
    }
  return out;
}

}  // namespace

Catalogue ApplyShortUsers(Catalogue catalogue, config::SplitConfig::ShortUsers what) {
  std::vector<int64_t> short_users;
  for (int64_t user = 0; user < catalogue.user_count(); ++user)
    if (catalogue.histories.row(user).size() < kLeastItems) short_users.push_back(user);
  if (short_users.empty() || what == config::SplitConfig::NEVER_EVALUATED) return catalogue;
  if (what == config::SplitConfig::DROP) return Without(short_users, catalogue);
  const int64_t first = short_users.front();
  Fail(Exit::kData, "user ", catalogue.users[static_cast<size_t>(first)], " has ",
       catalogue.histories.row(first).size(), " items; leave-one-out needs ", kLeastItems, " (",
       short_users.size(), " of ", catalogue.user_count(),
       " users have fewer): set split.short_users DROP or NEVER_EVALUATED, or catalogue.core { "
       "min_user: 3 iterated: true }");
}

}  // namespace whyrec::data
