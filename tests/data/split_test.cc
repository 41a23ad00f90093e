// The split: by hand on small catalogues; that the halves are kept apart; numbering and negatives.
#include "src/data/split.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <type_traits>

#include "src/base/hash.h"
#include "tests/data/shared_data.h"

namespace whyrec::data {
namespace {

using config::SplitConfig;

// Held-out items are out of reach by type: no key to whole histories can be made at will, and what
// training gets holds neither labels nor whole histories.
static_assert(!std::is_default_constructible_v<PublishedProtocol>);
static_assert(!std::is_convertible_v<Catalogue, TrainView>);
static_assert(!std::is_convertible_v<TrainView, LabelStore>);

// Three users over six items; item 5 has no interaction.
Catalogue Small() {
  Catalogue out;
  out.dataset = "small";
  out.domain = "toy";
  out.users = {"a", "b", "c"};
  for (const char* id : {"A", "B", "C", "D", "E", "F"}) {
    Item& item = out.items.emplace_back();
    item.id = id;
    item.title = std::string("title ") + id;
    if (*id == 'B') item.categories = {"x", "y"};
  }
  out.histories.Append(std::vector<int64_t>{2, 0, 1, 3});
  out.histories.Append(std::vector<int64_t>{1, 4, 0});
  out.histories.Append(std::vector<int64_t>{4, 3, 2, 1, 0});
  for (int i = 0; i < 12; ++i) {
    out.times.push_back(i);
    out.ratings.push_back(static_cast<float>(i));
    out.reviews.push_back(i % 2 ? "short one" : Cat("Hm. This is review number ", i, ". More."));
  }
  return out;
}

SplitConfig Config(SplitConfig::Numbering items, SplitConfig::Numbering users) {
  SplitConfig config;
  config.set_item_ids(items);
  config.set_user_ids(users);
  config.set_direct_negatives(1);
  return config;
}
SplitConfig Strict() { return Config(SplitConfig::PERMUTED, SplitConfig::PERMUTED); }

TEST(Split, LeaveOneOutByHand) {
  const Split split = MakeSplit(Small(), Strict());
  const TrainView& train = split.train;
  EXPECT_EQ(train.histories.values, (std::vector<int64_t>{2, 0, 1, 4, 3, 2}));
  EXPECT_EQ(train.histories.offsets, (std::vector<int64_t>{0, 2, 3, 6}));
  EXPECT_EQ(train.ratings, (std::vector<float>{0, 1, 4, 7, 8, 9}));
  EXPECT_EQ(train.reviews.size(), 6u);
  EXPECT_EQ(split.labels.Target(Phase::kTest, 0), 3);
  EXPECT_EQ(split.labels.Target(Phase::kTest, 1), 0);
  EXPECT_EQ(split.labels.Target(Phase::kValidation, 0), 1);
  EXPECT_EQ(split.labels.Target(Phase::kValidation, 1), 4);
  EXPECT_EQ(split.labels.Target(Phase::kValidation, 2), 1);
  EXPECT_EQ(split.labels.InputHistory(Phase::kValidation, train, 0), (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(split.labels.InputHistory(Phase::kTest, train, 0), (std::vector<int64_t>{2, 0, 1}));
}

TEST(Split, ExplanationsFromReviewsOfTrainingAndValidationPositions) {
  const Split split = MakeSplit(Small(), Strict());
  std::vector<std::string> texts;
  for (const auto& record : split.train.explanations)
    texts.push_back(Cat(record.user, " ", record.item, " ", record.text));
  EXPECT_EQ(texts, (std::vector<std::string>{"0 2 This is review number 0.",
                                             "1 1 This is review number 4.",
                                             "2 3 This is review number 8."}));
  const auto& validation = split.labels.ValidationExplanations();
  ASSERT_EQ(validation.size(), 2u);  // reviews 2 and 10; review 5 has no sentence of four words
  EXPECT_EQ(validation[0].text, "This is review number 2.");
  EXPECT_EQ(validation[1].user, 2);
  EXPECT_EQ(validation[1].item, 1);
}

TEST(Split, GivenExplanationsWithoutHeldOutPairs) {
  Catalogue catalogue = Small();
  catalogue.explanations[0] = {
      {0, 2, "train"}, {0, 1, "is validation"}, {0, 3, "is test"}, {1, 1, "train too"}};
  catalogue.explanations[1] = {{2, 4, "kept"}, {2, 1, "kept too"}, {2, 0, "is test"}};
  const Split split = MakeSplit(catalogue, Strict());
  ASSERT_EQ(split.train.explanations.size(), 2u);
  EXPECT_EQ(split.train.explanations[0].text, "train");
  EXPECT_EQ(split.train.explanations[1].text, "train too");
  ASSERT_EQ(split.labels.ValidationExplanations().size(), 2u);
  EXPECT_EQ(split.labels.ValidationExplanations()[1].text, "kept too");
}

TEST(Split, Numbering) {
  const Numbering published =
      MakeSplit(Small(), Config(SplitConfig::FIRST_APPEARANCE, SplitConfig::AS_GIVEN))
          .train.numbers;
  EXPECT_EQ(published.item,
            (std::vector<int64_t>{2, 3, 1, 4, 5, 6}));  // walk 2 0 1 3, then 4, then F
  EXPECT_EQ(published.item_row, (std::vector<int64_t>{2, 0, 1, 3, 4, 5}));
  EXPECT_EQ(published.user, (std::vector<int64_t>{1, 2, 3}));
  SplitConfig config = Strict();
  std::set<std::vector<int64_t>> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    config.set_id_seed(seed);
    Numbering numbers = MakeSplit(Small(), config).train.numbers;
    for (size_t row = 0; row < 6; ++row)
      EXPECT_EQ(numbers.item_row[static_cast<size_t>(numbers.item[row] - 1)],
                static_cast<int64_t>(row));
    seen.insert(numbers.item);
    std::ranges::sort(numbers.user);
    EXPECT_EQ(numbers.user, (std::vector<int64_t>{1, 2, 3}));
  }
  EXPECT_GT(seen.size(), 15u);
  EXPECT_NE(ErrorOf([] { MakeNumbering({1}, {1, 3}); }), "no error");
  EXPECT_NE(ErrorOf([] { MakeNumbering({1}, {1, 1}); }), "no error");
}

TEST(Split, CandidatesHoldTargetAndUnseenItems) {
  Catalogue catalogue = Small();
  const Split drawn = MakeSplit(catalogue, Strict());
  for (Phase phase : {Phase::kValidation, Phase::kTest})
    for (int64_t u = 0; u < 3; ++u) {
      const auto candidates = drawn.labels.Candidates(phase, u);
      ASSERT_EQ(candidates.size(), 2u);
      int targets = 0;
      for (int64_t item : candidates) {
        const bool is_target = item == drawn.labels.Target(phase, u);
        targets += is_target;
        EXPECT_EQ(std::ranges::count(catalogue.histories.row(u), item), is_target ? 1 : 0);
      }
      EXPECT_EQ(targets, 1);
    }
  catalogue.given_negatives.Append(std::vector<int64_t>{4, 5});
  catalogue.given_negatives.Append(std::vector<int64_t>{2, 3});
  catalogue.given_negatives.Append(std::vector<int64_t>{5});
  const Split given = MakeSplit(catalogue, Strict());
  const auto row = given.labels.Candidates(Phase::kTest, 0);
  EXPECT_EQ(std::set<int64_t>(row.begin(), row.end()), (std::set<int64_t>{3, 4, 5}));
  EXPECT_EQ(given.labels.Candidates(Phase::kValidation, 0).size(), 2u);  // still drawn
  SplitConfig config = Strict();
  config.set_direct_negatives(2);
  EXPECT_EQ(ErrorOf([&] { MakeSplit(Small(), config); }),
            "of 6 items 1 can be negatives, 2 are wanted; lower split.direct_negatives");
}

// dora has two items, eve one, of which nothing else is held out.
Catalogue WithShortUsers() {
  Catalogue catalogue = Small();
  catalogue.users.insert(catalogue.users.begin(), "dora");
  catalogue.users.push_back("eve");
  catalogue.histories.values.insert(catalogue.histories.values.begin(), {1, 2});
  for (int64_t& offset : catalogue.histories.offsets) offset += 2;
  catalogue.histories.offsets.insert(catalogue.histories.offsets.begin(), 0);
  catalogue.histories.Append(std::vector<int64_t>{5});
  catalogue.times.insert(catalogue.times.begin(), {100, 101});
  catalogue.times.push_back(102);
  catalogue.ratings.insert(catalogue.ratings.begin(), {1, 2});
  catalogue.ratings.push_back(3);
  catalogue.reviews.insert(catalogue.reviews.begin(), {"Dora said this first.", ""});
  catalogue.reviews.push_back("Eve said this only.");
  catalogue.explanations[1] = {};
  return catalogue;
}

TEST(ShortUsers, RefusedWithTheFirstTheirNumberAndTheSettings) {
  SplitConfig config = Strict();
  const std::string expected =
      "user dora has 2 items; leave-one-out needs 3 (2 of 5 users have fewer): set "
      "split.short_users DROP or NEVER_EVALUATED, or catalogue.core { min_user: 3 iterated: true }";
  EXPECT_EQ(ErrorOf([&] { MakeSplit(WithShortUsers(), config); }), expected);
  config.set_short_users(SplitConfig::REFUSE);
  EXPECT_EQ(ErrorOf([&] { MakeSplit(WithShortUsers(), config); }), expected);
}

// Dropped: as if they had never been in the source, but for its items.
TEST(ShortUsers, Dropped) {
  SplitConfig config = Strict();
  config.set_train_candidates(true);
  const Split without = MakeSplit(Small(), config);
  config.set_short_users(SplitConfig::DROP);
  const Split dropped = MakeSplit(WithShortUsers(), config);
  const TemporaryFolder first, second;
  Save(without, first.path);
  Save(dropped, second.path);
  for (const char* file : {"train.h5", "labels.h5"})
    EXPECT_EQ(Sha256OfFile(first.path / file), Sha256OfFile(second.path / file)) << file;
  // Rows of explanations and given negatives move along.
  Catalogue catalogue = WithShortUsers();
  catalogue.explanations[0] = {{0, 1, "gone"}, {1, 2, "stays"}, {4, 5, "gone too"}};
  for (int64_t item : {0, 4, 2, 5, 3}) catalogue.given_negatives.Append(std::vector<int64_t>{item});
  const Catalogue left = ApplyShortUsers(catalogue, SplitConfig::DROP);
  EXPECT_EQ(left.users, Small().users);
  EXPECT_EQ(left.given_negatives.values, (std::vector<int64_t>{4, 2, 5}));
  ASSERT_EQ(left.explanations[0].size(), 1u);
  EXPECT_EQ(left.explanations[0][0].user, 0);
}

TEST(ShortUsers, KeptForTrainingOnly) {
  SplitConfig config = Strict();
  config.set_short_users(SplitConfig::NEVER_EVALUATED);
  config.set_train_candidates(true);
  const Split split = MakeSplit(WithShortUsers(), config);
  EXPECT_EQ(split.train.histories.values, (std::vector<int64_t>{1, 2, 2, 0, 1, 4, 3, 2, 5}));
  EXPECT_EQ(split.train.times, (std::vector<int64_t>{100, 101, 0, 1, 4, 7, 8, 9, 102}));
  EXPECT_EQ(split.train.reviews.front(), "Dora said this first.");
  EXPECT_EQ(split.train.reviews.back(), "Eve said this only.");
  const LabelStore& labels = split.labels;
  for (Phase phase : {Phase::kValidation, Phase::kTest})
    EXPECT_EQ(labels.EvaluatedUsers(phase), (std::vector<int64_t>{1, 2, 3}));
  for (int64_t user : {0, 4})
    for (Phase phase : {Phase::kValidation, Phase::kTest}) {
      EXPECT_FALSE(labels.Evaluated(phase, user));
      EXPECT_EQ(labels.Target(phase, user), -1);
      EXPECT_EQ(labels.TargetTime(phase, user), 0);
      EXPECT_TRUE(labels.Candidates(phase, user).empty());
    }
  EXPECT_EQ(labels.InputHistory(Phase::kTest, split.train, 0), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(labels.InputEvents(Phase::kTest, split.train, 4).size(), 1u);
  // dora's second item is a training target; eve has no history before the first.
  EXPECT_EQ(split.train.candidates.row(0).size(), 2u);
  EXPECT_TRUE(split.train.candidates.row(4).empty());
  for (const auto& record : split.train.explanations) EXPECT_NE(record.item, -1);
  EXPECT_EQ(split.train.explanations.front().text, "Dora said this first.");
  EXPECT_EQ(split.train.explanations.back().text, "Eve said this only.");
  config.set_negative_exclude(SplitConfig::FULL);
  const auto open = PublishedProtocol::ForNegatives(config);
  EXPECT_EQ(labels.FullHistories(*open, split.train).values, WithShortUsers().histories.values);
}

// PULSE's text: of the ids, SHA-256 (computed elsewhere) lets "a" and "f" validate, not "b", "c",
// "dora" and "eve".
TEST(HeldOutText, OneUserInTenValidatesAndTheOthersTrainOnThatItem) {
  for (const char* id : {"a", "f", "user7", "user15", "user39", "U100001"}) {
    const Parts parts = PartsOf(id, 5, SplitConfig::TEXT);
    EXPECT_EQ(parts.training, 3u) << id;
    EXPECT_TRUE(parts.validates && parts.tests) << id;
  }
  for (const char* id : {"b", "c", "dora", "eve", "user8", "U100000"}) {
    const Parts parts = PartsOf(id, 5, SplitConfig::TEXT);
    EXPECT_EQ(parts.training, 4u) << id;
    EXPECT_TRUE(!parts.validates && parts.tests) << id;
  }
  for (size_t items = 0; items < 3; ++items)
    for (const char* id : {"a", "b"})
      for (auto how : {SplitConfig::TEXT, SplitConfig::LEAVE_TWO_OUT}) {
        const Parts parts = PartsOf(id, items, how);
        EXPECT_EQ(parts.training, items);
        EXPECT_FALSE(parts.validates || parts.tests);
      }
  int validating = 0;
  for (int i = 0; i < 10000; ++i)
    validating += PartsOf(Cat("A", i), 3, SplitConfig::TEXT).validates;
  EXPECT_NEAR(validating, 1000, 4 * 30);
}

TEST(HeldOutText, ByHand) {
  SplitConfig config = Strict();
  config.set_held_out(SplitConfig::TEXT);
  config.set_short_users(SplitConfig::NEVER_EVALUATED);
  config.set_train_candidates(true);
  const Split split = MakeSplit(WithShortUsers(), config);
  const TrainView& train = split.train;
  const LabelStore& labels = split.labels;
  // dora: 1 2 | a: 2 0 . 1 . 3 | b: 1 4 . 0 | c: 4 3 2 1 . 0 | eve: 5
  EXPECT_EQ(train.histories.values, (std::vector<int64_t>{1, 2, 2, 0, 1, 4, 4, 3, 2, 1, 5}));
  EXPECT_EQ(train.histories.offsets, (std::vector<int64_t>{0, 2, 4, 6, 10, 11}));
  EXPECT_EQ(train.times, (std::vector<int64_t>{100, 101, 0, 1, 4, 5, 7, 8, 9, 10, 102}));
  EXPECT_EQ(train.ratings, (std::vector<float>{1, 2, 0, 1, 4, 5, 7, 8, 9, 10, 3}));
  EXPECT_EQ(train.reviews[9], WithShortUsers().reviews[12]);  // c's last but one
  EXPECT_EQ(labels.EvaluatedUsers(Phase::kTest), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(labels.EvaluatedUsers(Phase::kValidation), (std::vector<int64_t>{1}));
  const auto targets = [&](Phase phase) {
    std::vector<int64_t> out;
    for (int64_t user = 0; user < 5; ++user) out.push_back(labels.Target(phase, user));
    return out;
  };
  EXPECT_EQ(targets(Phase::kTest), (std::vector<int64_t>{-1, 3, 0, 0, -1}));
  EXPECT_EQ(targets(Phase::kValidation), (std::vector<int64_t>{-1, 1, -1, -1, -1}));
  EXPECT_EQ(labels.TargetTime(Phase::kValidation, 1), 2);
  EXPECT_EQ(labels.TargetTime(Phase::kValidation, 3), 0);
  EXPECT_EQ(labels.TargetTime(Phase::kTest, 3), 11);
  // The test sees the validation item of who has one, after training; nobody's twice.
  const std::vector<std::vector<int64_t>> before = {{1, 2}, {2, 0, 1}, {1, 4}, {4, 3, 2, 1}, {5}};
  for (int64_t user = 0; user < 5; ++user) {
    const auto& want = before[static_cast<size_t>(user)];
    EXPECT_EQ(labels.InputHistory(Phase::kTest, train, user), want);
    const auto events = labels.InputEvents(Phase::kTest, train, user);
    ASSERT_EQ(events.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(events[i].item, want[i]);
    const auto row = train.histories.row(user);
    EXPECT_EQ(labels.InputHistory(Phase::kValidation, train, user),
              std::vector<int64_t>(row.begin(), row.end()));
  }
  EXPECT_EQ(labels.InputEvents(Phase::kTest, train, 1).back().time, 2);
  EXPECT_EQ(labels.InputEvents(Phase::kTest, train, 3).back().time, 10);
  // Candidates: where there is a target; training's of the last training item.
  for (int64_t user = 0; user < 5; ++user) {
    EXPECT_EQ(labels.Candidates(Phase::kValidation, user).size(), user == 1 ? 2u : 0u);
    EXPECT_EQ(labels.Candidates(Phase::kTest, user).size(), user % 4 ? 2u : 0u);
  }
  EXPECT_EQ(std::ranges::count(train.candidates.row(3), 1), 1);
  EXPECT_EQ(std::ranges::count(train.candidates.row(1), 0), 1);
  // Reviews 0 and 4, 8 and 10 have a sentence; 2 is of a's validation item, 10 of c's training.
  std::vector<std::string> texts;
  for (const auto& record : train.explanations) texts.push_back(Cat(record.user, " ", record.item));
  EXPECT_EQ(texts, (std::vector<std::string>{"0 1", "1 2", "2 1", "3 3", "3 1", "4 5"}));
  ASSERT_EQ(labels.ValidationExplanations().size(), 1u);
  EXPECT_EQ(labels.ValidationExplanations()[0].user, 1);
  config.set_negative_exclude(SplitConfig::FULL);
  const auto open = PublishedProtocol::ForNegatives(config);
  EXPECT_EQ(labels.FullHistories(*open, train).values, WithShortUsers().histories.values);
}

TEST(HeldOutText, GivenExplanationsKeepWhatIsTraining) {
  SplitConfig config = Strict();
  config.set_held_out(SplitConfig::TEXT);
  Catalogue catalogue = Small();
  catalogue.explanations[0] = {
      {0, 1, "is validation"}, {2, 1, "trains"}, {1, 4, "trains too"}, {2, 0, "is test"}};
  catalogue.explanations[1] = {{0, 1, "kept"}, {0, 3, "is test"}};
  const Split split = MakeSplit(catalogue, config);
  ASSERT_EQ(split.train.explanations.size(), 2u);
  EXPECT_EQ(split.train.explanations[0].text, "trains");
  EXPECT_EQ(split.train.explanations[1].text, "trains too");
  ASSERT_EQ(split.labels.ValidationExplanations().size(), 1u);
}

// What is held out differs; what training reads is the same.
TEST(HeldOutText, TrainingFileDoesNotDependOnHeldOutItems) {
  SplitConfig config = Strict();
  config.set_held_out(SplitConfig::TEXT);
  const TemporaryFolder first, second;
  Catalogue catalogue = Small();
  Save(MakeSplit(catalogue, config), first.path);
  catalogue.histories.values[2] = 5;  // a's validation item
  catalogue.histories.values[3] = 4;  // and the test items
  catalogue.histories.values[6] = 5;
  catalogue.histories.values[11] = 5;
  for (size_t at : {2, 3, 6, 11}) catalogue.reviews[at] = "Something else is said here.";
  Save(MakeSplit(catalogue, config), second.path);
  EXPECT_EQ(Sha256OfFile(first.path / "train.h5"), Sha256OfFile(second.path / "train.h5"));
  EXPECT_NE(Sha256OfFile(first.path / "labels.h5"), Sha256OfFile(second.path / "labels.h5"));
}

TEST(HeldOutText, NeedsAUserWhoValidates) {
  SplitConfig config = Strict();
  config.set_held_out(SplitConfig::TEXT);
  Catalogue catalogue = Small();
  catalogue.users[0] = "b2";
  EXPECT_EQ(ErrorOf([&] { MakeSplit(catalogue, config); }),
            "split.held_out TEXT: one user in ten validates, but none of these 3 does; set "
            "LEAVE_TWO_OUT");
}

TEST(Split, InputEventsTellWhatWasSaid) {
  const Split split = MakeSplit(Small(), Strict());
  const auto before = split.labels.InputEvents(Phase::kValidation, split.train, 2);
  const auto events = split.labels.InputEvents(Phase::kTest, split.train, 2);
  ASSERT_EQ(before.size(), 3u);
  ASSERT_EQ(events.size(), 4u);
  const Catalogue small = Small();
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(events[i].item, small.histories.row(2)[i]);
    EXPECT_EQ(events[i].time, small.times[7 + i]);
    EXPECT_EQ(events[i].rating, small.ratings[7 + i]);
    EXPECT_EQ(events[i].review, small.reviews[7 + i]);
  }
  EXPECT_EQ(split.labels.TargetTime(Phase::kValidation, 2), 10);
  EXPECT_EQ(split.labels.TargetTime(Phase::kTest, 2), 11);
  Catalogue bare = Small();
  bare.times.clear(), bare.ratings.clear(), bare.reviews.clear();
  const Split silent = MakeSplit(bare, Strict());
  const auto last = silent.labels.InputEvents(Phase::kTest, silent.train, 2).back();
  EXPECT_EQ(std::tuple(last.item, last.time, last.rating, last.review),
            std::tuple(1, 0, 0.0f, std::string()));
  EXPECT_EQ(silent.labels.TargetTime(Phase::kTest, 2), 0);
}

TEST(Split, OnlyAStatedPublishedProtocolOpensWholeHistories) {
  config::RationalesConfig profiles;
  SplitConfig negatives;
  EXPECT_FALSE(PublishedProtocol::ForProfiles(profiles));  // unset enums read as their first value
  EXPECT_FALSE(PublishedProtocol::ForNegatives(negatives));
  profiles.set_history(config::RationalesConfig::LAST20_TRAIN);
  negatives.set_negative_exclude(SplitConfig::TRAIN_ONLY);
  EXPECT_FALSE(PublishedProtocol::ForProfiles(profiles));
  EXPECT_FALSE(PublishedProtocol::ForNegatives(negatives));
  profiles.set_history(config::RationalesConfig::LAST20_FULL);
  negatives.set_negative_exclude(SplitConfig::FULL);
  ASSERT_TRUE(PublishedProtocol::ForNegatives(negatives));
  const auto open = PublishedProtocol::ForProfiles(profiles);
  ASSERT_TRUE(open);
  const Split split = MakeSplit(Small(), Strict());
  EXPECT_EQ(split.labels.FullHistories(*open, split.train).values, Small().histories.values);
}

// Other held-out items, reviews and ratings of them: the same bytes for training.
TEST(Split, TrainingFileDoesNotDependOnHeldOutItems) {
  const TemporaryFolder first, second;
  Catalogue catalogue = Small();
  Save(MakeSplit(catalogue, Strict()), first.path);
  for (int64_t u = 0; u < 3; ++u) {
    const auto end = static_cast<size_t>(catalogue.histories.offsets[static_cast<size_t>(u) + 1]);
    std::swap(catalogue.histories.values[end - 1], catalogue.histories.values[end - 2]);
    catalogue.histories.values[end - 1] = 5;
    for (size_t at : {end - 1, end - 2}) {
      catalogue.reviews[at] = "Something else is said here.";
      catalogue.ratings[at] = 77;
    }
  }
  Save(MakeSplit(catalogue, Strict()), second.path);
  EXPECT_EQ(Sha256OfFile(first.path / "train.h5"), Sha256OfFile(second.path / "train.h5"));
  EXPECT_NE(Sha256OfFile(first.path / "labels.h5"), Sha256OfFile(second.path / "labels.h5"));
}

TEST(Split, FilesKeepEverything) {
  const TemporaryFolder folder;
  Catalogue catalogue = Small();
  catalogue.explanations[1] = {{2, 4, "kept"}};
  catalogue.given_negatives.Append(std::vector<int64_t>{4, 5});
  Save(catalogue, folder.path / "catalogue.h5");
  const Catalogue loaded = LoadCatalogue(folder.path / "catalogue.h5");
  EXPECT_EQ(loaded.dataset, "small");
  EXPECT_EQ(loaded.domain, "toy");
  EXPECT_EQ(loaded.users, catalogue.users);
  EXPECT_EQ(loaded.histories.values, catalogue.histories.values);
  EXPECT_EQ(loaded.histories.offsets, catalogue.histories.offsets);
  EXPECT_EQ(loaded.times, catalogue.times);
  EXPECT_EQ(loaded.ratings, catalogue.ratings);
  EXPECT_EQ(loaded.reviews, catalogue.reviews);
  EXPECT_EQ(loaded.given_negatives.values, catalogue.given_negatives.values);
  EXPECT_EQ(loaded.items[1].categories, catalogue.items[1].categories);
  EXPECT_EQ(loaded.items[5].title, "title F");
  ASSERT_EQ(loaded.explanations[1].size(), 1u);
  EXPECT_EQ(loaded.explanations[1][0].text, "kept");
  EXPECT_TRUE(loaded.explanations[0].empty());

  SplitConfig config = Strict();
  config.set_train_candidates(true);
  const Split split = MakeSplit(Small(), config);
  Save(split, folder.path);
  const TrainView train = LoadTrainView(folder.path);
  EXPECT_EQ(train.histories.values, split.train.histories.values);
  EXPECT_EQ(train.times, split.train.times);
  EXPECT_EQ(train.ratings, split.train.ratings);
  EXPECT_EQ(train.candidates.values, split.train.candidates.values);
  EXPECT_EQ(train.candidates.offsets, split.train.candidates.offsets);
  EXPECT_EQ(train.numbers.item, split.train.numbers.item);
  EXPECT_EQ(train.numbers.item_row, split.train.numbers.item_row);
  EXPECT_EQ(train.numbers.user, split.train.numbers.user);
  EXPECT_EQ(train.reviews, split.train.reviews);
  EXPECT_EQ(train.explanations.size(), split.train.explanations.size());
  const LabelStore labels = LoadLabels(folder.path);
  for (Phase phase : {Phase::kValidation, Phase::kTest})
    for (int64_t u = 0; u < 3; ++u) {
      EXPECT_EQ(labels.Target(phase, u), split.labels.Target(phase, u));
      EXPECT_EQ(labels.TargetTime(phase, u), split.labels.TargetTime(phase, u));
      EXPECT_EQ(labels.InputEvents(phase, train, u).back().review,
                split.labels.InputEvents(phase, split.train, u).back().review);
      EXPECT_TRUE(
          std::ranges::equal(labels.Candidates(phase, u), split.labels.Candidates(phase, u)));
    }
  EXPECT_EQ(labels.ValidationExplanations().size(), split.labels.ValidationExplanations().size());
}

}  // namespace
}  // namespace whyrec::data
