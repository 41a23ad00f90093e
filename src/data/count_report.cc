#include "src/data/count_report.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "src/base/error.h"
#include "src/data/review_lines.h"
#include "src/data/split.h"

namespace whyrec::data {
namespace {

// Video Games follows from a known recipe and must be equal; the others are known within 0.5 %.
const PublishedCounts kPublished[] = {
    {"Luxury Beauty", 11690, 6534, 71898, 4.15, 0.005},
    {"Prime Pantry", 15611, 7841, 150402, 7.64, 0.005},
    {"Video Games", 64073, 33614, 568508, 6.88, 0},
};

// Means over users of the parts that training sees.
void CountUsers(const std::vector<int64_t>& events_of_users, CatalogueCounts& out) {
  constexpr auto kLeast = static_cast<int64_t>(kLeastItems);
  int64_t training = 0;
  for (int64_t events : events_of_users) {
    if (events == 0) continue;
    ++out.users;
    out.events += events;
    out.short_users += events < kLeast;
    training += events < kLeast ? events : events - 2;
  }
  if (out.users > 0)
    out.mean_train = static_cast<double>(training) / static_cast<double>(out.users);
}

CatalogueCounts CountsOf(const ReviewLines& reviews) {
  CatalogueCounts out;
  std::vector<int64_t> of_user(reviews.users.names.size());
  std::vector<bool> seen(reviews.items.names.size(), false);
  for (const ReviewLine& line : reviews.all) {
    ++of_user[static_cast<size_t>(line.user)];
    out.items += !seen[static_cast<size_t>(line.item)];
    seen[static_cast<size_t>(line.item)] = true;
  }
  CountUsers(of_user, out);
  return out;
}

std::string Letters(const std::string& name) {
  std::string out;
  for (char c : name)
    if (std::isalpha(static_cast<unsigned char>(c)))
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

std::string CatalogueCounts::Rule() const {
  if (threshold == 0) return "as configured";
  return Cat(">= ", threshold, repeats_kept ? ", repeats kept" : ", repeats dropped",
             iterated ? ", iterated" : ", single pass");
}

std::vector<CatalogueCounts> CountReport(const config::CatalogueConfig& config) {
  std::vector<CatalogueCounts> out;
  if (!config.has_reviews()) return out;
  Facts unused;
  ReviewLines kept = ParseReviews(config, /*texts=*/false, unused);
  SortByTime(kept);
  ReviewLines dropped = kept;
  DropRepeats(dropped);
  for (int32_t threshold : {4, 5})
    for (const ReviewLines* source : {&kept, &dropped})
      for (bool iterated : {false, true}) {
        config::CoreFilter core;
        core.set_min_user(threshold);
        core.set_min_item(threshold);
        core.set_iterated(iterated);
        ReviewLines reviews = *source;
        FilterCore(core, reviews);
        CatalogueCounts counts = CountsOf(reviews);
        counts.threshold = threshold;
        counts.repeats_kept = source == &kept;
        counts.iterated = iterated;
        out.push_back(counts);
      }
  return out;
}

CatalogueCounts CountsOf(const Catalogue& catalogue) {
  CatalogueCounts out;
  std::vector<int64_t> of_user;
  std::vector<bool> seen(catalogue.items.size(), false);
  for (int64_t u = 0; u < catalogue.user_count(); ++u)
    of_user.push_back(std::ssize(catalogue.histories.row(u)));
  for (int64_t item : catalogue.histories.values) seen[static_cast<size_t>(item)] = true;
  out.items = std::ranges::count(seen, true);
  CountUsers(of_user, out);
  return out;
}

std::string CountTable(const std::vector<CatalogueCounts>& counts) {
  char line[160];
  std::snprintf(line, sizeof(line), "%-34s %9s %9s %10s %11s %11s\n", "core filter", "users",
                "items", "events", "mean train", "users < 3");
  std::string out = line;
  for (const CatalogueCounts& row : counts) {
    std::snprintf(line, sizeof(line), "%-34s %9lld %9lld %10lld %11.3f %11lld\n",
                  row.Rule().c_str(), static_cast<long long>(row.users),
                  static_cast<long long>(row.items), static_cast<long long>(row.events),
                  row.mean_train, static_cast<long long>(row.short_users));
    out += line;
  }
  return out;
}

std::vector<AuditValue> CountValues(const std::vector<CatalogueCounts>& counts) {
  std::vector<AuditValue> out;
  for (const CatalogueCounts& row : counts)
    for (const auto& [metric, value] : {std::pair<const char*, double>{"users", row.users},
                                        {"items", row.items},
                                        {"events", row.events},
                                        {"mean train length", row.mean_train},
                                        {"users < 3 events", row.short_users}})
      out.push_back({"core filter " + row.Rule(), metric, value, row.users});
  return out;
}

const PublishedCounts* FindPublishedCounts(const std::string& dataset) {
  for (const PublishedCounts& row : kPublished)
    if (Letters(row.dataset) == Letters(dataset)) return &row;
  return nullptr;
}

std::optional<std::string> DataMismatch(const PublishedCounts& published,
                                        const CatalogueCounts& counts) {
  std::string out;
  const auto compare = [&](const char* name, int64_t here, int64_t there) {
    const auto allowed = published.tolerance * static_cast<double>(there);
    if (static_cast<double>(std::abs(here - there)) > allowed)
      out += Cat(out.empty() ? "" : ", ", name, " ", here, " (published ", there, ")");
  };
  compare("users", counts.users, published.users);
  compare("items", counts.items, published.items);
  compare("events", counts.events, published.events);
  // The paper prints two places.
  if (std::abs(counts.mean_train - published.mean_train) >
      0.01 + published.tolerance * published.mean_train)
    out += Cat(out.empty() ? "" : ", ", "mean train length ", counts.mean_train, " (published ",
               published.mean_train, ")");
  return out.empty() ? std::nullopt : std::optional(out);
}

}  // namespace whyrec::data
