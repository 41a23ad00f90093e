// Review readers on made-up lines of the Amazon 2014 and 2018 releases, with what the real files
// hold: Python literals, HTML and script in titles, repeated rows, missing keys.
#include <algorithm>

#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

using config::CatalogueConfig;
using config::CoreFilter;

constexpr const char* kReviews2018 =
    R"({"overall": 5.0, "vote": "2", "verified": true, "reviewTime": "06 3, 2015", "reviewerID": "U1", "asin": "B1", "style": {"Size:": " 4.0 oz"}, "reviewerName": "ann", "reviewText": "Soft &amp; light.<br />Will buy again.", "summary": "Five Stars", "unixReviewTime": 1433289600}
{"overall": 1.0, "verified": false, "reviewTime": "01 1, 2010", "reviewerID": "U1", "asin": "B2", "unixReviewTime": 1262304000, "image": ["https://a/b.jpg"]}
{"overall": 4.0, "reviewerID": "U2", "asin": "B1", "reviewText": null, "unixReviewTime": 1433289600}
{"overall": 3.0, "reviewerID": "U2", "asin": "B3", "reviewText": "ok", "unixReviewTime": 1433289600}
{"overall": 2.0, "reviewerID": "U2", "asin": "B4", "reviewText": "meh", "unixReviewTime": 1433289599}
)";

constexpr const char* kItems2018 =
    R"({"category": ["All Beauty", "Hair &amp; Care"], "tech1": "", "description": ["", "<b>Old</b> text"], "fit": "", "title": "First row", "also_buy": ["B9"], "image": [], "tech2": "", "brand": "Acme", "feature": [], "rank": [">#3 in Toys"], "also_view": [], "details": {}, "main_cat": "Beauty", "similar_item": "", "date": "", "price": "$1", "asin": "B1"}
{"category": ["All Beauty", "Skin"], "description": [], "title": "Face  Cream &#39;Gold&#39; <i>50 ml</i>\n", "brand": "Acme", "asin": "B1"}
{"category": [], "title": "var aPageStart = (new Date()).getTime(); <script>ue.count()</script>", "brand": "Zeta", "asin": "B2"}
{"description": [], "brand": "", "asin": "B3"}
)";

CatalogueConfig Config(const TemporaryFolder& folder, const std::string& reviews,
                       const std::string& items) {
  CatalogueConfig config;
  config.set_reviews(folder.Write("reviews.json", reviews).string());
  config.set_items(folder.Write("meta.json", items).string());
  return config;
}

const Item& ItemOf(const Catalogue& catalogue, const std::string& id) {
  const auto found = std::ranges::find(catalogue.items, id, &Item::id);
  EXPECT_NE(found, catalogue.items.end()) << id;
  return *found;
}

std::string LongTitle(int64_t characters) {
  std::string title;
  for (int64_t i = 0; i < characters; ++i) title += i % 8 == 7 ? " " : "\u00e9";  // two bytes
  return title.substr(0, title.size() - (title.ends_with(' ') ? 1 : 0));
}

TEST(Release2018, FieldsOfReviewsAndItems) {
  const TemporaryFolder folder;
  Facts facts;
  const Catalogue got = ReadSource(Config(folder, kReviews2018, kItems2018), facts);
  EXPECT_EQ(got.users, (std::vector<std::string>{"U1", "U2"}));
  std::vector<std::string> order;
  for (int64_t item : got.histories.values) order.push_back(got.items[item].id);
  EXPECT_EQ(order, (std::vector<std::string>{"B2", "B1", "B4", "B1", "B3"}));
  EXPECT_EQ(got.ratings, (std::vector<float>{1, 5, 2, 4, 3}));
  EXPECT_EQ(got.reviews,
            (std::vector<std::string>{"", "Soft & light. Will buy again.", "meh", "", "ok"}));
  EXPECT_EQ(got.times[0], 1262304000);
  // Lines name B1, B2, B3, B4; rows are B2, B1, B4, B3.
  EXPECT_EQ(got.appearance, (std::vector<int64_t>{1, 0, 3, 2}));
  const Item& cream = ItemOf(got, "B1");  // the last of two rows
  EXPECT_EQ(cream.title, "Face Cream 'Gold' 50 ml");
  EXPECT_EQ(cream.categories, (std::vector<std::string>{"All Beauty", "Skin"}));
  EXPECT_EQ(cream.description, "");
  EXPECT_EQ(FactOf(facts, "reviews.json bad lines"), "0");
  EXPECT_EQ(FactOf(facts, "meta.json bad lines"), "0");
  EXPECT_EQ(FactOf(facts, "repeated metadata lines dropped"), "1");
  EXPECT_EQ(FactOf(facts, "items without metadata"), "1");
  EXPECT_EQ(FactOf(facts, "items without a title"), "3");  // script, no key, no row
}

TEST(Release2018, UntitledItems) {
  const TemporaryFolder folder;
  CatalogueConfig config = Config(folder, kReviews2018, kItems2018);
  const auto titles = [&](CatalogueConfig::Untitled how) {
    config.set_untitled(how);
    Facts facts;
    const Catalogue got = ReadSource(config, facts);
    std::vector<std::string> out;
    for (const char* id : {"B2", "B3", "B4"}) {
      out.push_back(ItemOf(got, id).title);
      EXPECT_EQ(ItemOf(got, id).untitled, how == CatalogueConfig::DESCRIBE);
    }
    EXPECT_FALSE(ItemOf(got, "B1").untitled);
    return out;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(titles(CatalogueConfig::EMPTY), (Texts{"", "", ""}));
  EXPECT_EQ(titles(CatalogueConfig::NO_TITLE), (Texts{"No Title", "No Title", "No Title"}));
  EXPECT_EQ(titles(CatalogueConfig::DESCRIBE),
            (Texts{"Zeta", "item without a title", "item without a title"}));
}

TEST(Titles, ScriptAndLength) {
  const TemporaryFolder folder;
  const auto title_of = [&](const std::string& json) {
    Facts facts;
    CatalogueConfig config =
        Config(folder, R"({"reviewerID": "U", "asin": "B", "unixReviewTime": 1})",
               "{\"asin\": \"B\", \"brand\": \"Acme\", \"title\": " + json + "}\n");
    return ReadSource(config, facts).items[0].title;
  };
  EXPECT_EQ(title_of("\"" + LongTitle(400) + "\""), LongTitle(400));
  EXPECT_EQ(title_of("\"" + LongTitle(401) + "\""), "");
  EXPECT_EQ(title_of("\"A<style>.a {display:none}</style>\""), "");
  EXPECT_EQ(title_of("\"<SCRIPT type='x'>1</SCRIPT> Soap\""), "");
  EXPECT_EQ(title_of("\"Multi-function (Black) document frame for your window.\""),
            "Multi-function (Black) document frame for your window.");
  EXPECT_EQ(title_of("\"I <3 tea &lt;b&gt; &quot;Earl&quot;\""), "I <3 tea <b> \"Earl\"");
  EXPECT_EQ(title_of("\"\""), "");
  EXPECT_EQ(title_of("null"), "");
  EXPECT_EQ(title_of("[\"Two\", \"parts\"]"), "Two parts");
}

TEST(Release2014, PythonLiteralMetadata) {
  const TemporaryFolder folder;
  const std::string reviews =
      R"({"reviewerID": "A1", "asin": "0439", "reviewerName": "J. \"Jim\"", "helpful": [0, 0], "reviewText": "It's fine", "overall": 4.0, "summary": "ok", "unixReviewTime": 1252800000, "reviewTime": "09 13, 2009"}
{"reviewerID": "A1", "asin": "B00", "helpful": [1, 2], "reviewText": "", "overall": 5.0, "summary": "", "unixReviewTime": 1252800001, "reviewTime": "09 13, 2009"}
{"reviewerID": "A1", "asin": "B01", "unixReviewTime": 1252800002}
)";
  const std::string items =
      R"({'asin': '0439', 'description': 'A "quoted" one\nwith lines', 'title': "Jim's \"best\" caf\xe9 \u2019", 'price': 37.98, 'salesRank': {'Toys & Games': 211836}, 'imUrl': 'http://x/y.jpg', 'brand': 'Acme &amp; Co', 'categories': [['Clothing', 'Girls'], ['Toys & Games']], 'related': {'also_bought': ['00', '11'], 'bought_together': []}}
{'asin': u'B00', 'title': None, 'categories': [[]], 'brand': "", 'price': -1e-05,}
not a literal at all
)";
  CatalogueConfig config = Config(folder, reviews, items);
  config.set_max_bad_lines(0.5);
  Facts facts;
  const Catalogue got = ReadSource(config, facts);
  const Item& book = ItemOf(got, "0439");
  EXPECT_EQ(book.title, "Jim's \"best\" caf\u00e9 \u2019");
  EXPECT_EQ(book.brand, "Acme & Co");
  EXPECT_EQ(book.categories, (std::vector<std::string>{"Clothing", "Girls", "Toys & Games"}));
  EXPECT_EQ(book.description, "A \"quoted\" one with lines");
  EXPECT_EQ(ItemOf(got, "B00").title, "");
  EXPECT_EQ(got.reviews, (std::vector<std::string>{"It's fine", "", ""}));
  EXPECT_EQ(got.ratings, (std::vector<float>{4, 5, 0}));
  EXPECT_EQ(FactOf(facts, "meta.json bad lines"), "1");
  EXPECT_EQ(FactOf(facts, "meta.json bad line numbers"), "3");
  // A stated key is taken at its word.
  config.mutable_fields()->set_categories("classes");
  EXPECT_TRUE(ItemOf(ReadSource(config, facts), "0439").categories.empty());
}

// U reviews A three times and B once; V reviews A once, at a low rating.
constexpr const char* kRepeats =
    R"({"reviewerID": "U", "asin": "A", "unixReviewTime": 5, "overall": 5, "reviewText": "second"}
{"reviewerID": "V", "asin": "A", "unixReviewTime": 1, "overall": 2}
{"reviewerID": "U", "asin": "B", "unixReviewTime": 5, "overall": 4}
{"reviewerID": "U", "asin": "A", "unixReviewTime": 5, "overall": 3, "reviewText": "third"}
{"reviewerID": "U", "asin": "A", "unixReviewTime": 2, "overall": 1, "reviewText": "first"}
)";

TEST(Filters, RepeatsKeptOrNotBeforeCounting) {
  const TemporaryFolder folder;
  CatalogueConfig config;
  config.set_reviews(folder.Write("r.json", kRepeats).string());
  const auto read = [&](CoreFilter::Duplicates duplicates, int least, double rating = 0) {
    config.mutable_core()->set_duplicates(duplicates);
    config.mutable_core()->set_min_user(least);
    config.mutable_core()->set_counted_rating(rating);
    config.mutable_core()->set_iterated(false);
    Facts facts;
    const Catalogue got = ReadSource(config, facts);
    std::string out;
    for (size_t i = 0; i < got.histories.values.size(); ++i)
      out += got.items[got.histories.values[i]].id + got.reviews[i] + " ";
    return out;
  };
  EXPECT_EQ(read(CoreFilter::KEEP, 0), "Afirst Asecond B Athird A ");
  EXPECT_EQ(read(CoreFilter::KEEP_FIRST, 0), "Afirst B A ");
  EXPECT_EQ(read(CoreFilter::KEEP, 4), "Afirst Asecond B Athird ");
  EXPECT_EQ(read(CoreFilter::KEEP_FIRST, 2), "Afirst B ");
  EXPECT_EQ(read(CoreFilter::KEEP, 3, 3), "Afirst Asecond B Athird ");  // low ones stay, uncounted
  EXPECT_NE(ErrorOf([&] { read(CoreFilter::KEEP, 4, 3); }).find("no interaction is left"),
            std::string::npos);
}

}  // namespace
}  // namespace whyrec::data
