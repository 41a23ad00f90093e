// The P5 folder: a small one written here, each way to break it, and Beauty and Toys.
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

class P5Folder : public ::testing::Test {
 protected:
  P5Folder() {
    folder.Write("sequential.txt", "1 1 2 3\n2 2 4 1 3\n");
    folder.Write("datamaps.json",
                 R"({"id2user": {"1": "ann", "2": "bob"},
                     "id2item": {"1": "A1", "2": "A2", "3": "A3", "4": "A4", "5": "A5"}})");
    folder.Write("items.jsonl",
                 "{\"id\": 1, \"asin\": \"A1\", \"title\": \"Nail &amp; Co\", \"attributes\": "
                 "[\"OPI\", \"Nails\"]}\n"
                 "{\"id\": 2, \"title\": \"\", \"text_id\": \"red shatter\", \"brand\": \"B\"}\n"
                 "{\"id\": 3, \"categories\": [[\"Skin\", \"Face\"]], \"description\": "
                 "\"<b>Soft</b> cream\"}\n");
  }

  Catalogue Read() { return ReadSource(Folder(folder.path), facts); }
  std::string Broken() {
    return ErrorOf([&] { Read(); });
  }
  std::string At(const std::string& name) const { return (folder.path / name).string(); }

  TemporaryFolder folder;
  Facts facts;
};

TEST_F(P5Folder, ReadsAllFilesWithRowsOneBelowNumbers) {
  folder.Write("negative.txt", "1 4 5\n2 5\n");
  folder.Write(
      "explanation.json",
      R"({"train": [{"user": 1, "item": 2, "explanation": "good &amp; cheap", "feature": "x"}],
                   "val": [], "test": [{"user": 2, "item": 3, "explanation": "fine", "feature": "y"}]})");
  const Catalogue got = Read();
  EXPECT_EQ(got.users, (std::vector<std::string>{"ann", "bob"}));
  EXPECT_EQ(got.histories.values, (std::vector<int64_t>{0, 1, 2, 1, 3, 0, 2}));
  EXPECT_EQ(got.histories.offsets, (std::vector<int64_t>{0, 3, 7}));
  EXPECT_EQ(got.given_negatives.values, (std::vector<int64_t>{3, 4, 4}));
  EXPECT_EQ(got.items[0].title, "Nail & Co");
  EXPECT_EQ(got.items[0].categories, (std::vector<std::string>{"OPI", "Nails"}));
  EXPECT_EQ(got.items[1].title, "red shatter");
  EXPECT_EQ(got.items[1].brand, "B");
  EXPECT_EQ(got.items[2].categories, (std::vector<std::string>{"Skin", "Face"}));
  EXPECT_EQ(got.items[2].description, "Soft cream");
  EXPECT_EQ(got.items[4].id, "A5");
  ASSERT_EQ(got.explanations[0].size(), 1u);
  EXPECT_EQ(got.explanations[0][0].text, "good & cheap");
  EXPECT_EQ(got.explanations[2][0].user, 1);
  EXPECT_EQ(got.explanations[2][0].item, 2);
  EXPECT_EQ(FactOf(facts, "items without a line in items.jsonl"), "2");
  EXPECT_EQ(FactOf(facts, "items without interactions"), "1");
  EXPECT_EQ(FactOf(facts, "titles taken from text_id"), "1");
  EXPECT_EQ(FactOf(facts, "interactions"), "7");
  EXPECT_EQ(got.dataset, folder.path.filename().string());
}

TEST_F(P5Folder, NamesFileAndLineOfBadSequences) {
  const std::string file = At("sequential.txt");
  const auto broken = [&](const std::string& text) {
    folder.Write("sequential.txt", text);
    return Broken();
  };
  EXPECT_EQ(broken("1 1 2 3\n2 2 4 1 6\n"),
            file + ":2: item 6 is outside 1..5, the items of datamaps.json");
  EXPECT_EQ(broken("1 1 0 3\n2 2 4 1\n"),
            file + ":1: item 0 is outside 1..5, the items of datamaps.json");
  EXPECT_EQ(broken("1 1 2 3\n2 2 4 2\n"),
            file + ":2: item 2 occurs twice; keep a user's first interaction with an item");
  EXPECT_EQ(broken("1 1 2 3\n3 2 4 1\n"), file + ":2: user 3 instead of user 2; line i is user i");
  EXPECT_EQ(broken("1 1 x2 3\n"),
            file + ":1: \"x2\" is not a number; a line is \"user item item ...\"");
  EXPECT_EQ(broken("1 1 2,3\n"),
            file + ":1: \"2,3\" is not a number; a line is \"user item item ...\"");
  EXPECT_EQ(broken("1 1 2 3\n\n"), file + ":2: empty line; line i is user i");
  EXPECT_EQ(broken("1 1 2 3\n"), file + ":1: ends after 1 users; datamaps.json has 2");
  EXPECT_EQ(
      broken("1 1 99999999999999999999\n"),
      file + ":1: \"99999999999999999999\" is not a number; a line is \"user item item ...\"");
}

TEST_F(P5Folder, NamesFileAndCauseOfBadMaps) {
  const std::string file = At("datamaps.json");
  folder.Write("datamaps.json", R"({"id2user": {"1": "ann", "3": "bob"}, "id2item": {}})");
  EXPECT_EQ(Broken(),
            file + ": id2user has 2 entries but no text for \"2\"; the numbers have to be 1..2");
  folder.Write("datamaps.json", R"({"id2item": {}})");
  EXPECT_EQ(Broken(), file + ": no object \"id2user\"; it maps \"1\", \"2\", ... to ids");
  folder.Write("datamaps.json", "{");
  EXPECT_EQ(Broken().rfind(file + ": ", 0), 0u);
  fs::remove(file);
  EXPECT_NE(Broken().find(file), std::string::npos);
}

TEST_F(P5Folder, NamesFileAndLineOfBadItems) {
  const std::string file = At("items.jsonl");
  folder.Write("items.jsonl", "{\"id\": 1}\n{\"id\": 6}\n");
  EXPECT_EQ(Broken(), file + ":2: item 6 is outside 1..5, the items of datamaps.json");
  folder.Write("items.jsonl", "{\"id\": 1}\n{\"id\": 1}\n");
  EXPECT_EQ(Broken(), file + ":2: item 1 occurs twice; keep one line per item");
  folder.Write("items.jsonl",
               "{\"id\": 1, \"asin\": \"A2\"}\n");  // the trap of Toys: another numbering
  EXPECT_EQ(Broken(), file +
                          ":1: item 1 is A2 here and A1 in datamaps.json; the files number items "
                          "differently");
  folder.Write("items.jsonl", "{\"id\": 1}\n{\"id\": \n{\"title\": \"no id\"}\n");
  EXPECT_EQ(Broken(),
            file +
                ":2: neither JSON nor a Python literal; 2 of 3 lines cannot be used (lines 2, "
                "3), more than catalogue.max_bad_lines allows");
  fs::remove(file);
  EXPECT_EQ(Broken(), folder.path.string() +
                          ": no items.jsonl or items.jsonl.gz; write one line "
                          "{\"id\": 1, \"title\": ...} per item");
}

TEST_F(P5Folder, ChecksNegativesExplanationsAndCore) {
  folder.Write("negative.txt", "1 4 5\n2 5 3\n");
  EXPECT_EQ(Broken(),
            At("negative.txt") +
                ":2: item 3 is in the user's history; negatives are items the user never had");
  fs::remove(At("negative.txt"));
  folder.Write("explanation.json",
               R"({"train": [{"user": 3, "item": 1, "explanation": ""}], "val": [], "test": []})");
  EXPECT_EQ(Broken(),
            At("explanation.json") + ": train[0]: user 3 or item 1 is outside datamaps.json");
  folder.Write("explanation.json", R"({"train": [], "val": []})");
  EXPECT_EQ(Broken(), At("explanation.json") + ": no list \"test\"");
  fs::remove(At("explanation.json"));
  config::CatalogueConfig config = Folder(folder.path);
  config.mutable_core()->set_min_user(4);
  EXPECT_EQ(
      ErrorOf([&] { ReadSource(config, facts); }),
      At("sequential.txt") + ":1: user 1 has 3 items, fewer than catalogue.core.min_user = 4");
}

TEST(ReadSource, WantsOneSource) {
  Facts facts;
  EXPECT_EQ(ErrorOf([&] { ReadSource({}, facts); }, Exit::kUsage),
            "catalogue: name either a folder, a reviews file or `planted`");
}

struct Published {
  const char* name;
  int64_t users, items;
  size_t interactions;
  const char* untitled;  // README: seven titles of Beauty are empty, Toys have none
};

void PrintTo(const Published& value, std::ostream* out) { *out << value.name; }

class RealFolder : public ::testing::TestWithParam<Published> {};

// Table 5 of the ISRF paper, and the file's known hash.
TEST_P(RealFolder, HasThePublishedCountsAndHash) {
  WR_SHARED_DATA(folder, GetParam().name);
  Facts facts;
  const Catalogue got = ReadSource(Folder(*folder), facts);
  EXPECT_EQ(got.user_count(), GetParam().users);
  EXPECT_EQ(got.item_count(), GetParam().items);
  EXPECT_EQ(got.histories.values.size(), GetParam().interactions);
  EXPECT_EQ(FactOf(facts, "sequential.txt is"),
            std::string(GetParam().name) + " of the ISRF paper (ELMRec, RDRec)");
  EXPECT_EQ(FactOf(facts, "items without a line in items.jsonl"), "0");
  EXPECT_EQ(FactOf(facts, "items.jsonl.gz bad lines"), "0");
  EXPECT_EQ(FactOf(facts, "titles taken from text_id"), GetParam().untitled);
  for (const Item& item : got.items) EXPECT_FALSE(item.title.empty()) << item.id;
}

INSTANTIATE_TEST_SUITE_P(All, RealFolder,
                         ::testing::Values(Published{"beauty", 22363, 12101, 198502, "7"},
                                           Published{"toys", 19412, 11924, 167597, "11924"}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace whyrec::data
