// Counts under eight rules: against a brute force over made-up lines that was written apart.
#include "src/data/count_report.h"

#include <map>
#include <set>
#include <tuple>

#include "src/base/rng.h"
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

using Event = std::pair<int64_t, int64_t>;  // user, item

std::vector<Event> Drawn() {
  Rng rng(3, "lines");
  std::vector<Event> events;
  for (int i = 0; i < 600; ++i) {
    const auto skewed = [&](int64_t n) { return rng.Between(0, rng.Between(0, n)); };
    events.emplace_back(skewed(90), skewed(110));
  }
  return events;
}

CatalogueCounts BruteForce(std::vector<Event> events, int threshold, bool keep, bool iterated) {
  if (!keep) {
    const std::set<Event> once(events.begin(), events.end());
    events.assign(once.begin(), once.end());
  }
  for (size_t before = 0; before != events.size();) {
    before = events.size();
    std::map<int64_t, int> users, items;
    for (const auto& [user, item] : events) ++users[user], ++items[item];
    std::vector<Event> left;
    for (const Event& event : events)
      if (users[event.first] >= threshold && items[event.second] >= threshold)
        left.push_back(event);
    events = left;
    if (!iterated) break;
  }
  CatalogueCounts out;
  std::map<int64_t, int64_t> of_user;
  std::set<int64_t> items;
  for (const auto& [user, item] : events) ++of_user[user], items.insert(item);
  double training = 0;
  for (const auto& [user, count] : of_user) {
    out.short_users += count < 3;
    training += static_cast<double>(count < 3 ? count : count - 2);
  }
  out.users = std::ssize(of_user);
  out.items = std::ssize(items);
  out.events = std::ssize(events);
  out.mean_train = training / static_cast<double>(of_user.size());
  return out;
}

auto Figures(const CatalogueCounts& c) {
  return std::tuple(c.users, c.items, c.events, c.short_users, c.mean_train);
}

TEST(CountReport, EqualsBruteForceAndWhatTheReaderKeeps) {
  const TemporaryFolder folder;
  std::string lines;
  int64_t time = 0;
  for (const auto& [user, item] : Drawn())
    lines += Cat("{\"reviewerID\": \"u", user, "\", \"asin\": \"i", item,
                 "\", \"unixReviewTime\": ", ++time % 50, "}\n");
  config::CatalogueConfig config;
  config.set_reviews(folder.Write("r.json", lines).string());
  const auto report = CountReport(config);
  ASSERT_EQ(report.size(), 8u);
  std::set<std::string> rules;
  int64_t with_short_users = 0;
  for (const CatalogueCounts& row : report) {
    rules.insert(row.Rule());
    EXPECT_EQ(Figures(row),
              Figures(BruteForce(Drawn(), row.threshold, row.repeats_kept, row.iterated)))
        << row.Rule();
    config::CoreFilter& core = *config.mutable_core();
    core.set_min_user(row.threshold);
    core.set_min_item(row.threshold);
    core.set_iterated(row.iterated);
    core.set_duplicates(row.repeats_kept ? config::CoreFilter::KEEP
                                         : config::CoreFilter::KEEP_FIRST);
    Facts facts;
    EXPECT_EQ(Figures(row), Figures(CountsOf(ReadSource(config, facts)))) << row.Rule();
    EXPECT_TRUE(!row.iterated || row.short_users == 0);
    with_short_users += row.short_users > 0;
  }
  EXPECT_EQ(rules.size(), 8u);
  EXPECT_GT(with_short_users, 0);  // only a single pass leaves them
  EXPECT_EQ(CountValues(report).size(), 40u);
  const std::string table = CountTable(report);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 9);
  EXPECT_NE(table.find(">= 5, repeats kept, single pass"), std::string::npos);
  EXPECT_TRUE(CountReport(config::CatalogueConfig()).empty());
}

TEST(Published, TheTableAndItsTolerance) {
  ASSERT_NE(FindPublishedCounts("luxury_beauty"), nullptr);
  EXPECT_EQ(FindPublishedCounts("Prime Pantry")->users, 15611);
  EXPECT_EQ(FindPublishedCounts("gift-cards"), nullptr);
  const PublishedCounts& games = *FindPublishedCounts("Video Games");
  CatalogueCounts counts;
  counts.users = 64073, counts.items = 33614, counts.events = 568508, counts.mean_train = 6.8765;
  EXPECT_FALSE(DataMismatch(games, counts));
  --counts.events;
  EXPECT_EQ(DataMismatch(games, counts).value_or(""), "events 568507 (published 568508)");
  const PublishedCounts& beauty = *FindPublishedCounts("Luxury Beauty");
  counts.users = 11690 + 58, counts.items = 6534 - 32, counts.events = 71898 + 359;
  counts.mean_train = 4.17;
  EXPECT_FALSE(DataMismatch(beauty, counts));
  counts.users += 1, counts.items -= 1, counts.events += 1, counts.mean_train = 4.2;
  EXPECT_EQ(DataMismatch(beauty, counts).value_or(""),
            "users 11749 (published 11690), items 6501 (published 6534), events 72258 (published "
            "71898), mean train length 4.2 (published 4.15)");
  // The mean of the table is what the split leaves to training, not events / users.
  for (const char* name : {"Luxury Beauty", "Prime Pantry", "Video Games"}) {
    const PublishedCounts& row = *FindPublishedCounts(name);
    EXPECT_NEAR(static_cast<double>(row.events) / static_cast<double>(row.users) - 2,
                row.mean_train, 0.01);
  }
}

}  // namespace
}  // namespace whyrec::data
