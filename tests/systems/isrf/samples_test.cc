// Samples and batches of the T5 systems, and item lists from decoded texts. The data are made by
// hand.
#include "src/systems/isrf/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "src/systems/isrf/decode.h"
#include "tests/systems/world.h"

namespace whyrec::systems {
namespace {

using config::IsrfConfig;

std::vector<int64_t> Iota(int64_t n, int64_t first) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), first);
  return out;
}

// Users with histories of the given lengths over `items` items, under permuted numbers.
data::TrainView MakeTrain(const std::vector<int64_t>& lengths, int64_t items) {
  data::TrainView train;
  train.items.resize(static_cast<size_t>(items));
  for (size_t u = 0; u < lengths.size(); ++u) {
    auto history = Rng(1, "history", 0, u).Permutation(items);
    history.resize(static_cast<size_t>(lengths[u]));
    train.histories.Append(history);
    train.explanations.push_back({static_cast<int64_t>(u), history[0], Cat("sentence ", u)});
  }
  const auto permuted = [](int64_t n, const char* what) {
    auto out = Iota(n, 1);
    Rng(2, what).Shuffle(out);
    return out;
  };
  train.numbers =
      data::MakeNumbering(permuted(std::ssize(lengths), "users"), permuted(items, "items"));
  return train;
}

const std::vector<int64_t> kLengths = {1, 2, 30, 5, 3, 22, 4, 2, 21, 6};

struct Fixture {
  explicit Fixture(const std::vector<std::string>& overrides = {},
                   data::TrainView view = MakeTrain(kLengths, 60))
      : config(SmallConfig(folder.path(), overrides)), train(std::move(view)) {}
  SampleSource Source() const { return {train, config, train.histories, prompts}; }
  BatchMaker Batches(IsrfVariant variant = IsrfVariant::kIsrfCode) const {
    return {variant, train, config.isrf(), prompts, *tokenizer};
  }

  Temporary folder;
  config::RunConfig config;
  data::TrainView train;
  text::Templates prompts;
  std::unique_ptr<text::Tokenizer> tokenizer =
      text::LoadSentencePiece(WHYREC_SOURCE_DIR "/examples/t5-tokenizer/spiece.model");
};

TEST(SampleSource, SegmentsOfTrainingHistories) {
  const Fixture f;
  SampleSource source = f.Source();
  std::set<size_t> first, last, sizes;  // of user 2, who has 30 items
  for (int64_t draw = 0; draw < 20000; ++draw) {
    const Sample sample = source.Draw(IsrfConfig::SEQUENTIAL, draw);
    const auto history = f.train.histories.row(sample.user);
    ASSERT_GE(history.size(), 2u);
    ASSERT_GE(sample.items.size(), 1u);
    ASSERT_LE(sample.items.size(), 20u);
    const auto begin = std::find(history.begin(), history.end(), sample.items[0]);
    const auto end = begin + std::ssize(sample.items);
    ASSERT_LT(end, history.end());
    ASSERT_TRUE(std::equal(begin, end, sample.items.begin()));
    ASSERT_EQ(sample.target, *end);
    if (sample.user != 2) continue;
    first.insert(static_cast<size_t>(begin - history.begin()));
    last.insert(static_cast<size_t>(end - history.begin()));
    sizes.insert(sample.items.size());
  }
  EXPECT_EQ(first.size(), 29u);  // a = 0..n-4, n = 32
  EXPECT_EQ(last.size(), 29u);   // b = 1..n-3
  EXPECT_EQ(std::pair(*last.begin(), *last.rbegin()), (std::pair<size_t, size_t>(1, 29)));
  EXPECT_EQ(sizes.size(), 20u);
}

std::vector<int64_t> Users(SampleSource& source, T5Task task, int64_t begin, int64_t n) {
  std::vector<int64_t> out;
  for (int64_t draw = begin; draw < begin + n; ++draw) out.push_back(source.Draw(task, draw).user);
  return out;
}

TEST(SampleSource, PassesFollowTheCursorRule) {
  for (const bool shuffled : {false, true}) {
    const Fixture f({Cat("train.shuffle_first_pass=", shuffled ? "true" : "false")});
    SampleSource source = f.Source();
    for (const auto& [task, rows] : {std::pair{IsrfConfig::EXPLANATION, Iota(10, 0)},
                                     {IsrfConfig::SEQUENTIAL, Iota(9, 1)},  // user 0 has one item
                                     {IsrfConfig::DIRECT, Iota(9, 1)}}) {
      const int64_t n = std::ssize(rows);
      auto pass = Users(source, task, 0, n), next = Users(source, task, n, n);
      EXPECT_EQ(pass == rows, !shuffled);
      EXPECT_NE(next, pass);
      EXPECT_NE(next, rows);
      std::ranges::sort(pass);
      std::ranges::sort(next);
      EXPECT_EQ(pass, rows);
      EXPECT_EQ(next, rows);
    }
  }
}

TEST(SampleSource, DirectCandidates) {
  const Fixture f;
  SampleSource source = f.Source();
  std::set<int64_t> targets;
  std::set<std::ptrdiff_t> places;
  for (int64_t draw = 0; draw < 2000; ++draw) {
    const Sample sample = source.Draw(IsrfConfig::DIRECT, draw);
    const auto history = f.train.histories.row(sample.user);
    ASSERT_EQ(sample.items.size(), 10u);
    ASSERT_EQ(std::set<int64_t>(sample.items.begin(), sample.items.end()).size(), 10u);
    for (int64_t item : sample.items) {
      const bool known = std::find(history.begin(), history.end(), item) != history.end();
      ASSERT_EQ(known, item == sample.target);
    }
    places.insert(std::find(sample.items.begin(), sample.items.end(), sample.target) -
                  sample.items.begin());
    if (sample.user == 3) targets.insert(sample.target);
  }
  EXPECT_EQ(places.size(), 10u);
  EXPECT_EQ(targets.size(), 5u);  // any of the user's five
}

TEST(SampleSource, ADrawDependsOnItsNumberAlone) {
  const Fixture f;
  SampleSource one = f.Source(), other = f.Source();
  other.Draw(IsrfConfig::DIRECT, 77);
  std::set<int64_t> prompts;
  for (int64_t draw = 40; draw >= 0; --draw) {
    const Sample a = one.Draw(IsrfConfig::DIRECT, 40 - draw),
                 b = other.Draw(IsrfConfig::DIRECT, draw);
    const Sample c = one.Draw(IsrfConfig::DIRECT, draw);
    EXPECT_EQ(std::tie(b.user, b.items, b.target, b.prompt),
              std::tie(c.user, c.items, c.target, c.prompt));
    prompts.insert(a.prompt);
  }
  EXPECT_EQ(prompts, (std::set<int64_t>{0, 1, 2, 3, 4}));
}

TEST(SampleSource, TasksThatTheDataAllow) {
  using Tasks = std::vector<T5Task>;
  EXPECT_EQ(Fixture().Source().tasks(),
            (Tasks{IsrfConfig::EXPLANATION, IsrfConfig::SEQUENTIAL, IsrfConfig::DIRECT}));
  EXPECT_EQ(Fixture({"isrf.task[0]=DIRECT", "isrf.task[1]=EXPLANATION"}).Source().tasks(),
            (Tasks{IsrfConfig::EXPLANATION, IsrfConfig::DIRECT}));
  auto silent = MakeTrain(kLengths, 60);
  silent.explanations.clear();
  EXPECT_EQ(Fixture({}, silent).Source().tasks(),
            (Tasks{IsrfConfig::SEQUENTIAL, IsrfConfig::DIRECT}));
  EXPECT_EQ(Fixture({}, MakeTrain({1, 1, 1}, 60)).Source().tasks(),
            (Tasks{IsrfConfig::EXPLANATION}));
  EXPECT_THROW(Fixture({"isrf.task[0]=EXPLANATION"}, silent).Source(), Error);
}

// "batches per epoch" of POD's published logs (Toys, Beauty, Sports) from the numbers of users and
// explanation records.
TEST(SampleSource, PublishedEpochs) {
  for (const auto& [users, records, steps] :
       {std::tuple{19412, 81920, 1886}, {22363, 106303, 2358}, {35598, 157503, 3572}}) {
    data::TrainView train;
    train.items.resize(2);
    for (int u = 0; u < users; ++u) train.histories.Append(std::vector<int64_t>{0, 1});
    train.explanations.resize(static_cast<size_t>(records));
    EXPECT_EQ(Fixture({"train.global_batch=64"}, train).Source().EpochSteps(), steps);
  }
  // A set smaller than the batch still gives every task its turn.
  EXPECT_EQ(Fixture({"train.global_batch=64"}).Source().EpochSteps(), 3);
}

std::vector<int64_t> Row(const HostTensor& t, int64_t i) {
  const auto row = t.row<int64_t>(i);
  return {row.begin(), row.end()};
}

// "user_12252 item_8668" where neither number is the row plus 1.
TEST(BatchMaker, WholeWordsAreGraphRowsWhateverTheNumbers) {
  constexpr int64_t kUsers = 13000, kItems = 9000;
  data::TrainView train = MakeTrain({}, kItems);
  auto numbers = Iota(kUsers, 1);
  Rng(3, "users").Shuffle(numbers);
  train.numbers = data::MakeNumbering(numbers, train.numbers.item);
  for (int64_t u = 0; u < kUsers; ++u) train.histories.Append(std::vector<int64_t>{0, 1});
  const int64_t user = std::find(numbers.begin(), numbers.end(), 12252) - numbers.begin();
  const int64_t item = train.numbers.item_row[8668 - 1], other = train.numbers.item_row[77 - 1];
  ASSERT_NE(user, 12251);
  ASSERT_NE(item, 8667);
  const std::vector<Sample> samples = {{.user = user, .items = {item}, .target = item},
                                       {.user = user, .items = {item, other}, .target = other}};
  for (const auto& [variant, task] : {std::pair{"ISRF_CODE", IsrfConfig::DIRECT},
                                      {"ISRF_CODE", IsrfConfig::EXPLANATION},
                                      {"ELMREC", IsrfConfig::DIRECT},
                                      {"ISRF_CODE", IsrfConfig::SEQUENTIAL},
                                      {"POD", IsrfConfig::DIRECT},
                                      {"POD", IsrfConfig::EXPLANATION}}) {
    const Fixture f({}, train);
    BatchMaker batches = f.Batches(IsrfVariantOf(variant));
    const Batch batch = batches.Make(task, samples);
    const bool nodes = task != IsrfConfig::SEQUENTIAL && variant != std::string("POD");
    const int64_t u = nodes ? user + 1 : 1, i = nodes ? kUsers + 1 + item : 2,
                  o = nodes ? kUsers + 1 + other : 3;
    const bool one = task == IsrfConfig::EXPLANATION;  // its prompt names one item
    EXPECT_EQ(Row(batch.whole_words, 1),
              one ? (std::vector<int64_t>{u, u, u, u, i, i, i, i, 0})
                  : (std::vector<int64_t>{u, u, u, u, i, i, i, i, o, o, o, 0}))
        << variant << task;
    std::vector<int64_t> padded = {u, u, u, u, i, i, i, i, 0};
    padded.resize(static_cast<size_t>(batch.source.dim(1)), 0);  // </s> and padding have 0
    EXPECT_EQ(Row(batch.whole_words, 0), padded);
    std::vector<int64_t> ids = f.tokenizer->Encode("user_12252 item_8668");
    ids.push_back(1);
    ids.resize(padded.size(), 0);
    EXPECT_EQ(Row(batch.source, 0), ids);
    const auto mask = batch.mask.row<uint8_t>(0);
    EXPECT_EQ(std::accumulate(mask.begin(), mask.end(), 0), 9);
    EXPECT_EQ(Row(batch.users, 0), (std::vector<int64_t>{user + 1}));
  }
}

TEST(BatchMaker, Targets) {
  const Fixture f({"isrf.explanation_tokens=5"});
  BatchMaker batches = f.Batches();
  const int64_t item = f.train.numbers.item_row[41];  // number 42
  std::vector<int64_t> number = f.tokenizer->Encode("42");
  number.push_back(1);
  const auto target = [&](T5Task task, const Sample& sample) {
    return Row(batches.Make(task, std::span(&sample, 1)).target, 0);
  };
  EXPECT_EQ(target(IsrfConfig::SEQUENTIAL, {.user = 0, .items = {1}, .target = item}), number);
  EXPECT_EQ(target(IsrfConfig::DIRECT, {.user = 0, .items = {1, item}, .target = item}), number);
  EXPECT_EQ(target(IsrfConfig::DIRECT, {.user = 0, .items = {1}}), (std::vector<int64_t>{1}));
  std::vector<int64_t> good = f.tokenizer->Encode("good"),
                       long_text = f.tokenizer->Encode(
                           "the children like to play with these colours all day");
  good.push_back(1);
  long_text.resize(5);  // without </s>
  EXPECT_EQ(target(IsrfConfig::EXPLANATION, {.user = 0, .items = {1}, .text = "good"}), good);
  EXPECT_EQ(target(IsrfConfig::EXPLANATION,
                   {.user = 0,
                    .items = {1},
                    .text = "the children like to play with these colours all day"}),
            long_text);
}

struct Decoding : Fixture {
  explicit Decoding(const std::vector<std::string>& overrides)
      : Fixture(overrides), batches(Batches()), decoder(train, config, batches, *tokenizer) {}

  int64_t RowOf(int64_t number) const {
    return train.numbers.item_row[static_cast<size_t>(number - 1)];
  }
  std::vector<int64_t> Items(Task task, const Query& query, const std::vector<std::string>& texts) {
    std::vector<decode::Hypothesis> hypotheses;
    for (const std::string& text : texts) {
      std::vector<int64_t> tokens = tokenizer->Encode(text);
      if (decoder.Restricted(task))
        for (int64_t& token : tokens)
          token = std::ranges::find(decoder.pieces(), token) - decoder.pieces().begin();
      hypotheses.push_back({tokens, 0});
    }
    return decoder.Items(task, query, hypotheses);
  }

  BatchMaker batches;
  NumberDecoder decoder;
};

const std::vector<std::string> kFree = {"predict.sequential_decode=FREE",
                                        "predict.direct_decode=FREE"};

TEST(NumberDecoder, DirectKeepsPlaces) {
  const std::vector<std::string> texts = {"7", "hello", "61", "0", "12 item_9", "7"};
  for (const bool random : {false, true}) {
    auto overrides = kFree;
    overrides.push_back(random ? "predict.fill=RANDOM" : "predict.fill=NONE");
    Decoding d(overrides);
    const Query query{.user = 3, .history = {d.RowOf(7)}, .candidates = {}};
    const auto list = d.Items(Task::kDirect, query, texts);
    ASSERT_EQ(list.size(), random ? 10u : 6u);
    for (const auto& [place, number] : {std::pair{0, 7}, {4, 12}, {5, 7}})  // no duplicate removal
      EXPECT_EQ(list[static_cast<size_t>(place)], d.RowOf(number));
    for (size_t place : {1, 2, 3}) {  // no number, too large, too small
      if (random) {
        EXPECT_TRUE(list[place] >= 0 && list[place] < 60);
      } else {
        EXPECT_EQ(list[place], -1);
      }
    }
    EXPECT_EQ(list, d.Items(Task::kDirect, query, texts)) << "fill is seeded";
  }
}

TEST(NumberDecoder, SequentialDropsHistoryAndNonsense) {
  auto overrides = kFree;
  overrides.push_back("predict.fill=NONE");
  Decoding none(overrides);
  const Query query{.user = 3, .history = {none.RowOf(7), none.RowOf(9)}, .candidates = {}};
  EXPECT_EQ(none.Items(Task::kSequential, query, {"7", "8", "hello", "9", "10"}),
            (std::vector<int64_t>{none.RowOf(8), none.RowOf(10)}));
  std::vector<std::string> many;
  for (int number = 1; number <= 20; ++number) many.push_back(std::to_string(number));
  const auto list = none.Items(Task::kSequential, query, many);
  ASSERT_EQ(list.size(), 10u);
  EXPECT_EQ(list.back(), none.RowOf(12));
  overrides.back() = "predict.fill=RANDOM";
  Decoding random(overrides);
  const auto filled = random.Items(Task::kSequential, query, {"7", "8"});
  ASSERT_EQ(filled.size(), 10u);
  EXPECT_EQ(filled[0], random.RowOf(8));
  for (int64_t item : filled) EXPECT_TRUE(item >= 0 && item < 60);
}

// All texts that a trie of columns spells.
std::set<std::string> Spelt(const Decoding& d, const decode::Trie& trie,
                            int64_t node = decode::Trie::kRoot, std::vector<int64_t> pieces = {}) {
  std::set<std::string> out;
  for (int64_t column : trie.Allowed(node)) {
    if (column == 1) {
      out.insert(d.tokenizer->Decode(pieces));
      continue;
    }
    pieces.push_back(d.decoder.pieces()[static_cast<size_t>(column)]);
    out.merge(Spelt(d, trie, trie.Child(node, column), pieces));
    pieces.pop_back();
  }
  return out;
}

TEST(NumberDecoder, TriesSpellTheNumbers) {
  Decoding d({});  // STRICT: TRIE and CANDIDATE_TRIE
  std::set<std::string> all;
  for (int number = 1; number <= 60; ++number) all.insert(std::to_string(number));
  const std::vector<int64_t> candidates = {d.RowOf(3), d.RowOf(33), d.RowOf(41)};
  const std::vector<Query> queries = {{0, {}, candidates}, {1, {}, std::span(candidates).first(1)}};
  const auto free = d.decoder.Tries(Task::kSequential, queries);
  ASSERT_EQ(free.size(), 2u);
  EXPECT_EQ(Spelt(d, *free[1]), all);
  const auto bound = d.decoder.Tries(Task::kDirect, queries);
  ASSERT_EQ(bound.size(), 2u);
  EXPECT_EQ(Spelt(d, *bound[0]), (std::set<std::string>{"3", "33", "41"}));
  EXPECT_EQ(Spelt(d, *bound[1]), (std::set<std::string>{"3"}));
  EXPECT_EQ(d.Items(Task::kDirect, queries[0], {"33", "3"}),
            (std::vector<int64_t>{d.RowOf(33), d.RowOf(3)}));
  EXPECT_EQ(d.decoder.pieces()[0], 0);
  EXPECT_EQ(d.decoder.pieces()[1], 1);
}

TEST(NumberDecoder, OptionsAreThePublishedOnes) {
  Decoding free(kFree);
  EXPECT_TRUE(free.decoder.Tries(Task::kDirect, {{0, {}, {}}}).empty());
  EXPECT_FALSE(free.decoder.Restricted(Task::kDirect));
  const auto direct = free.decoder.Options(Task::kDirect),
             next = free.decoder.Options(Task::kSequential);
  EXPECT_EQ(std::tuple(direct.beams, direct.returned, direct.max_new_tokens),
            std::tuple(20, 10, 50));
  EXPECT_EQ(std::tuple(next.beams, next.returned, next.max_new_tokens), std::tuple(30, 20, 50));
  for (const char* decode : {"CANDIDATE_TRIE", "EXACT"})
    EXPECT_THROW(Decoding({std::string("predict.sequential_decode=") + decode}), Error);
}

}  // namespace
}  // namespace whyrec::systems
