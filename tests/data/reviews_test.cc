// Reviews: small files written here, and Gift Cards.
#include <algorithm>
#include <numeric>

#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

std::string Line(const char* user, const char* item, int64_t time, const std::string& more = "") {
  return Cat("{\"reviewerID\": \"", user, "\", \"asin\": \"", item,
             "\", \"unixReviewTime\": ", time, more, "}\n");
}

config::CatalogueConfig Reviews(const fs::path& file) {
  config::CatalogueConfig config;
  config.set_reviews(file.string());
  return config;
}

// "b: B1 B2" per user.
std::vector<std::string> Histories(const Catalogue& catalogue) {
  std::vector<std::string> out;
  for (int64_t u = 0; u < catalogue.user_count(); ++u) {
    out.push_back(catalogue.users[static_cast<size_t>(u)] + ":");
    for (int64_t item : catalogue.histories.row(u))
      out.back() += " " + catalogue.items[static_cast<size_t>(item)].id;
  }
  return out;
}

TEST(Reviews, SortsStablyDeduplicatesAndNumbersByFirstAppearance) {
  const TemporaryFolder folder;
  const auto file = folder.Write(
      "r.jsonl",
      Line("bob", "X", 30, ", \"overall\": 4, \"reviewText\": \"late\"") +
          Line("ann", "Z", 5, ", \"overall\": \"3.0\"") + Line("bob", "Y", 20) +
          Line("bob", "X", 10, ", \"overall\": 2, \"reviewText\": \"early &amp; first\"") +
          Line("bob", "W", 20) + Line("ann", "X", 5000000000000));
  Facts facts;
  const Catalogue got = ReadSource(Reviews(file), facts);
  EXPECT_EQ(Histories(got), (std::vector<std::string>{"bob: X Y W", "ann: Z X"}));
  EXPECT_EQ(got.histories.values, (std::vector<int64_t>{0, 1, 2, 3, 0}));
  EXPECT_EQ(got.times,
            (std::vector<int64_t>{10, 20, 20, 5, 5000000000}));  // the last in milliseconds
  EXPECT_EQ(got.ratings, (std::vector<float>{2, 0, 0, 3, 0}));
  EXPECT_EQ(got.reviews, (std::vector<std::string>{"early & first", "", "", "", ""}));
  EXPECT_EQ(got.dataset, "r");
  EXPECT_EQ(FactOf(facts, "repeated user-item pairs dropped"), "1");
  EXPECT_EQ(FactOf(facts, "order"), "time; ties as in the file");
}

TEST(Reviews, CoreFilterOnceOrUntilNothingFallsOut) {
  const TemporaryFolder folder;
  // Item C has one user; without it user b has one item left; without b item A has one user left.
  const auto file = folder.Write(
      "r.jsonl", Line("a", "A", 1) + Line("a", "D", 2) + Line("a", "E", 3) + Line("b", "A", 1) +
                     Line("b", "C", 2) + Line("c", "D", 1) + Line("c", "E", 2));
  config::CatalogueConfig config = Reviews(file);
  config.mutable_core()->set_min_user(2);
  config.mutable_core()->set_min_item(2);
  Facts facts;
  EXPECT_EQ(Histories(ReadSource(config, facts)), (std::vector<std::string>{"a: D E", "c: D E"}));
  EXPECT_EQ(FactOf(facts, "core filter"),
            "users >= 2, items >= 2, iterated, 4 passes, 3 interactions dropped");
  config.mutable_core()->set_iterated(false);
  EXPECT_EQ(Histories(ReadSource(config, facts)),
            (std::vector<std::string>{"a: A D E", "b: A", "c: D E"}));
  config.mutable_core()->set_min_user(4);
  EXPECT_NE(ErrorOf([&] { ReadSource(config, facts); }).find("no interaction is left"),
            std::string::npos);
}

TEST(Reviews, CountsBadLinesAndFailsAboveTheShare) {
  const TemporaryFolder folder;
  const auto file = folder.Write(
      "r.jsonl", Line("a", "A", 1) + "{\"reviewerID\": \"a\"\n\n" + Line("a", "B", 2) +
                     "{\"reviewerID\": \"a\", \"asin\": \"C\", \"unixReviewTime\": 1e300}\n[1]\n");
  config::CatalogueConfig config = Reviews(file);
  config.set_max_bad_lines(0.6);
  Facts facts;
  EXPECT_EQ(Histories(ReadSource(config, facts)), (std::vector<std::string>{"a: A B"}));
  EXPECT_EQ(FactOf(facts, "r.jsonl lines"), "5");
  EXPECT_EQ(FactOf(facts, "r.jsonl bad lines"), "3");
  EXPECT_EQ(FactOf(facts, "r.jsonl bad line numbers"), "2, 5, 6");
  config.set_max_bad_lines(0.59);
  EXPECT_EQ(ErrorOf([&] { ReadSource(config, facts); }),
            file.string() +
                ":2: neither JSON nor a Python literal; 3 of 5 lines cannot be used (lines 2, 5, "
                "6), more than catalogue.max_bad_lines allows");
  config.mutable_fields()->set_user("who");
  EXPECT_EQ(ErrorOf([&] { ReadSource(config, facts); }),
            file.string() +
                ":1: no key \"who\" with an id; see catalogue.fields.user; 5 of 5 lines cannot be "
                "used (lines 1, 2, 4, 5, 6), more than catalogue.max_bad_lines allows");
  const auto untimed = folder.Write("u.jsonl", "{\"reviewerID\": \"a\", \"asin\": \"C\"}\n");
  EXPECT_EQ(
      ErrorOf([&] {
        ReadSource(Reviews(untimed), facts);
      }).rfind(untimed.string() + ":1: no number \"unixReviewTime\"; see catalogue.fields.time", 0),
      0u);
  fs::remove(file);
  EXPECT_NE(ErrorOf([&] { ReadSource(config, facts); }).find(file.string()), std::string::npos);
}

TEST(Reviews, MetadataOfBothReleases) {
  const TemporaryFolder folder;
  config::CatalogueConfig config =
      Reviews(folder.Write("r.jsonl", Line("a", "A", 1) + Line("a", "B", 2) + Line("a", "C", 3)));
  config.set_items(
      folder
          .Write("m.jsonl",
                 // 2018: a list, and a list kept as text.
                 "{\"asin\": \"A\", \"title\": \"T &quot;1&quot;\", \"category\": \"['Gift Cards', "
                 "\\\"Men's\\\"]\", "
                 "\"description\": [\"<p>One</p>\", \"two\"]}\n"
                 // 2014: a Python literal.
                 "{\"asin\": \"B\", \"title\": \"earlier\"}\n"
                 "{'asin': 'B', 'title': \"Jim's\", 'category': [['Beauty', 'Nails']], 'price': "
                 "None}\n"
                 "{\"asin\": \"Q\", \"title\": \"unused\"}\n")
          .string());
  Facts facts;
  const Catalogue got = ReadSource(config, facts);
  EXPECT_EQ(got.items[0].title, "T \"1\"");
  EXPECT_EQ(got.items[0].categories, (std::vector<std::string>{"Gift Cards", "Men's"}));
  EXPECT_EQ(got.items[0].description, "One two");
  EXPECT_EQ(got.items[1].title, "Jim's");
  EXPECT_EQ(got.items[1].categories, (std::vector<std::string>{"Beauty", "Nails"}));
  EXPECT_EQ(got.items[2].title, "");
  EXPECT_EQ(FactOf(facts, "items without interactions dropped"), "1");
  EXPECT_EQ(FactOf(facts, "repeated metadata lines dropped"), "1");
  EXPECT_EQ(FactOf(facts, "items without metadata"), "1");
}

TEST(Ties, ShuffleStaysWithinEqualTimesAndCoversAllOrders) {
  const std::vector<int64_t> times{1, 2, 2, 2, 9, 9};
  std::vector<int> second(6, 0);
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    const auto order = ShuffledTies(times, seed, 3);
    ASSERT_EQ(order[0], 0);
    for (size_t i = 0; i < order.size(); ++i)
      ASSERT_EQ(times[static_cast<size_t>(order[i])], times[i]);
    auto sorted = order;
    std::ranges::sort(sorted);
    for (int64_t i = 0; i < 6; ++i) ASSERT_EQ(sorted[static_cast<size_t>(i)], i);
    ++second[static_cast<size_t>(order[1])];
  }
  for (size_t i = 1; i <= 3; ++i) EXPECT_NEAR(second[i], 200, 4 * 11.6) << i;  // 4 standard errors
  EXPECT_EQ(ShuffledTies(times, 5, 3), ShuffledTies(times, 5, 3));
}

// Counts of the data's README.
TEST(GiftCards, CountsOfTheReadme) {
  WR_SHARED_DATA(folder, "gift-cards");
  Facts facts;
  const Catalogue got = ReadSource(GiftCards(*folder), facts);
  EXPECT_EQ(got.user_count(), 458);
  EXPECT_EQ(got.item_count(), 148);
  EXPECT_EQ(got.histories.values.size(), 2965u);
  EXPECT_EQ(FactOf(facts, "reviews.jsonl.gz lines"), "2972");
  EXPECT_EQ(FactOf(facts, "repeated user-item pairs dropped"), "7");
  EXPECT_EQ(FactOf(facts, "items without interactions dropped"), "1399");
  EXPECT_EQ(FactOf(facts, "items without metadata"), "0");
  EXPECT_EQ(std::ranges::count_if(got.items, [](const Item& i) { return !i.description.empty(); }),
            145);
  EXPECT_EQ(std::ranges::count_if(got.items, [](const Item& i) { return !i.brand.empty(); }), 119);
  EXPECT_EQ(*std::ranges::min_element(got.times), 1327968000);  // 2012-01-31
  EXPECT_EQ(*std::ranges::max_element(got.times), 1534896000);  // 2018-08-22
  int64_t last_day_ties = 0, user_days = 0, short_users = 0;
  for (int64_t u = 0; u < got.user_count(); ++u) {
    const auto end = static_cast<size_t>(got.histories.offsets[static_cast<size_t>(u) + 1]);
    const size_t size = got.histories.row(u).size();
    last_day_ties += got.times[end - 1] == got.times[end - 2];
    short_users += size == 4;
    for (size_t i = end - size + 1; i < end; ++i)
      user_days += got.times[i] == got.times[i - 1] &&
                   (i == end - size + 1 || got.times[i - 2] != got.times[i - 1]);
  }
  EXPECT_EQ(last_day_ties, 291);  // 292 with repeated reviews; one user had one item twice that day
  EXPECT_EQ(short_users, 3);
  EXPECT_NEAR(static_cast<double>(user_days), 601, 7);  // the README counts before de-duplication
}

TEST(GiftCards, ShufflingTiesReordersItemsButKeepsThem) {
  WR_SHARED_DATA(folder, "gift-cards");
  Facts facts;
  config::CatalogueConfig config = GiftCards(*folder);
  const Catalogue in_file = ReadSource(config, facts);
  config.mutable_order()->set_ties(config::OrderConfig::SHUFFLED);
  const Catalogue shuffled = ReadSource(config, facts);
  EXPECT_EQ(in_file.users, shuffled.users);
  EXPECT_EQ(in_file.times, shuffled.times);
  const auto before = Histories(in_file), after = Histories(shuffled);
  int64_t changed = 0;
  for (size_t u = 0; u < before.size(); ++u) {
    changed += before[u] != after[u];
    auto a = before[u], b = after[u];
    std::ranges::sort(a), std::ranges::sort(b);
    EXPECT_EQ(a, b);
  }
  EXPECT_GT(changed, 300);
  config.mutable_order()->set_seed(2);
  EXPECT_NE(after, Histories(ReadSource(config, facts)));
}

}  // namespace
}  // namespace whyrec::data
