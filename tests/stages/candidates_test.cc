// Further candidate sets: against what the rules allow, a plain ranking of SASRec's scores, and the
// sequential task, whose first places a set of SASRec's own first items must repeat.
#include "src/data/candidates.h"

#include <nlohmann/json.hpp>
#include <set>

#include "src/base/ragged.h"
#include "src/base/text_file.h"
#include "src/stages/system_run.h"
#include "src/store/hdf5_file.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

const Names kSystems = {"system[0].name=popularity",      "system[1].name=sasrec",
                        "system[1].knobs.dim=8",          "system[1].train.steps=30",
                        "system[1].train.epoch_steps=10", "system[1].train.global_batch=16"};
const Names kBoth = {"predict.also_candidates[0]=POPULARITY",
                     "predict.also_candidates[1]=SASREC_HARD"};

config::RunConfig Config(const Names& overrides = {}) {
  Names all = kSystems;
  all.insert(all.end(), kBoth.begin(), kBoth.end());
  all.insert(all.end(), overrides.begin(), overrides.end());
  return LoadTiny(all);
}

Ragged<int64_t> RowsOf(const fs::path& workspace, const std::string& how) {
  return store::Hdf5Reader(workspace / ("candidates." + how) / "candidates.h5")
      .ReadRagged("candidates");
}

// A finished run of both sets.
struct Sets : testing::Test {
  static void SetUpTestSuite() {
    done = new Temporary;
    RunAlone(Config({"predict.hard_pool=19", "catalogue.untitled=EMPTY"}), done->path());
  }
  static void TearDownTestSuite() { delete done; }

  static Temporary* done;
};
Temporary* Sets::done = nullptr;

TEST_F(Sets, HoldEveryTargetAmongItemsThatTheUserNeverHad) {
  const auto catalogue = data::LoadCatalogue(*done / "catalogue/catalogue.h5");
  const auto labels = data::LoadLabels(*done / "split");
  const auto popular = RowsOf(done->path(), "popularity"),
             hard = RowsOf(done->path(), "sasrec_hard");
  int64_t alike = 0;
  for (const auto* rows : {&popular, &hard}) {
    ASSERT_EQ(rows->rows(), catalogue.user_count());
    for (int64_t user = 0; user < rows->rows(); ++user) {
      const auto row = rows->row(user);
      ASSERT_EQ(row.size(), 20u);
      const int64_t target = labels.Target(data::Phase::kTest, user);
      for (const int64_t item : row)
        ASSERT_EQ(std::ranges::count(catalogue.histories.row(user), item), item == target);
      ASSERT_EQ(std::set(row.begin(), row.end()).size(), 20u);
      ASSERT_EQ(std::ranges::count(row, target), 1);
      alike += std::ranges::equal(row, labels.Candidates(data::Phase::kTest, user));
    }
  }
  EXPECT_EQ(alike, 0);  // a draw of their own
  // Those that are often bought are among the popular: their mean count is higher.
  std::vector<double> counts(catalogue.items.size(), 0);
  for (const int64_t item : data::LoadTrainView(*done / "split").histories.values) ++counts[item];
  const auto mean = [&](auto&& row_of) {
    double sum = 0;
    for (int64_t user = 0; user < popular.rows(); ++user)
      for (const int64_t item : row_of(user)) sum += counts[item];
    return sum / static_cast<double>(20 * popular.rows());
  };
  EXPECT_GT(mean([&](int64_t user) { return popular.row(user); }),
            1.5 * mean([&](int64_t u) { return labels.Candidates(data::Phase::kTest, u); }));
}

TEST_F(Sets, HardOnesAreTheFirstOfSasrecsRanking) {
  const auto config = Config();
  store::Workspace workspace(done->path());
  const auto alone = cluster::MakeSelf();
  const RunContext context{config, *alone, workspace};
  const auto catalogue = data::LoadCatalogue(*done / "catalogue/catalogue.h5");
  const auto train = data::LoadTrainView(*done / "split");
  const auto labels = data::LoadLabels(*done / "split");
  const SystemRun run(config, 1);
  const auto sasrec = run.Build(context, train, nullptr);
  sasrec->Load(workspace.Of(run.Train()));
  const auto hard = RowsOf(done->path(), "sasrec_hard");
  for (int64_t user = 0; user < hard.rows(); user += 7) {
    const auto had = catalogue.histories.row(user);
    const std::vector<int64_t> before(had.begin(), had.end() - 1);
    const auto scores = sasrec->Predict(ranking::Task::kSequential, {{user, before, {}}})[0].scores;
    std::vector<double> unseen;
    for (size_t item = 0; item < scores.size(); ++item)
      if (std::ranges::count(had, static_cast<int64_t>(item)) == 0) unseen.push_back(scores[item]);
    std::ranges::sort(unseen, std::greater());
    // Alone and in a batch a score may differ in its last digits.
    for (const int64_t item : hard.row(user))
      if (item != had.back()) {
        EXPECT_GE(scores[item], unseen[18] - 1e-5) << user;
      }
  }
}

TEST_F(Sets, ReportHasRowsTablesAndDifferencesOfTheirOwn) {
  const json rows = json::parse(ReadFile(*done / "report/report.json"));
  std::map<std::string, double> values;
  for (const json& row : rows) {
    const std::string task = row.at("task");
    values[row.at("system").get<std::string>() + " " + task + " " +
           row.at("metric").get<std::string>()] = row.at("value");
    EXPECT_EQ(row.at("candidates"), task == "sequential" || task == "direct_full" ? 148 : 20)
        << task;
    EXPECT_EQ(row.at("users"), 24);
  }
  EXPECT_EQ(rows.size(), 2u * 5 * 6);  // systems, tasks, metrics
  // Among SASRec's first unseen items the target has the place it has among all.
  for (const char* metric : {"HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"})
    EXPECT_NEAR(values.at(Cat("sasrec direct_sasrec_hard ", metric)),
                values.at(Cat("sasrec sequential ", metric)), 1e-12)
        << metric;
  EXPECT_GT(values.at("sasrec sequential HR@10"), 0);
  EXPECT_GT(values.at("popularity direct HR@5"), values.at("popularity direct_popularity HR@5"));

  const std::string text = ReadFile(*done / "report/report.md");
  for (const char* task : {"direct", "direct_popularity", "direct_sasrec_hard"}) {
    const size_t at = text.find(Cat("### ", task, ": 20 candidates, 24 users"));
    ASSERT_NE(at, text.npos) << text;
    EXPECT_LT(text.find("| chance", at), text.find("###", at + 3)) << task;
    EXPECT_NE(text.find(Cat("- ", task, " HR@10, popularity minus sasrec: ")), text.npos) << task;
  }
}

TEST_F(Sets, ASetMoreLeavesTrainingAlone) {
  const Temporary folder;
  fs::copy(done->path(), folder.path(), fs::copy_options::recursive);
  const Names more = {"predict.hard_pool=19", "catalogue.untitled=EMPTY",
                      "predict.also_candidates[2]=RELEASED"};
  EXPECT_EQ(RunAlone(Config(more), folder.path()),
            (Names{"candidates.released", "predict.popularity", "metrics.popularity",
                   "predict.sasrec", "metrics.sasrec", "report"}));
}

// Whoever draws and asks: the same bytes, also where the pool is wider than the set.
TEST(Candidates, ThreeRanksYieldTheSame) {
  const auto config = Config({"split.distinct_titles=true", "predict.hard_pool=40"});
  const Temporary alone, shared;
  RunAlone(config, alone.path());
  fs::copy(alone / "train.sasrec", shared / "train.sasrec", fs::copy_options::recursive);
  RunOn(3, config, shared.path());
  EXPECT_EQ(Contents(shared.path()), Contents(alone.path()));
  const auto catalogue = data::LoadCatalogue(alone / "catalogue/catalogue.h5");
  for (const char* how : {"popularity", "sasrec_hard"})
    EXPECT_EQ(data::SharedTitles(catalogue.items, RowsOf(alone.path(), how)), 0) << how;
}

TEST(Candidates, ChainNamesWhatTheyNeed) {
  Names names;
  for (const Stage& stage : Chain(Config())) names.push_back(stage.name);
  EXPECT_EQ(names, (Names{"catalogue", "split", "audit", "train.sasrec", "candidates.popularity",
                          "candidates.sasrec_hard", "train.popularity", "predict.popularity",
                          "metrics.popularity", "predict.sasrec", "metrics.sasrec", "report"}));
}

TEST(Candidates, RefusesWhatCannotWork) {
  const struct {
    Names overrides;
    std::string says;
  } kCases[] = {
      {{"system[0].name=markov", "predict.also_candidates[0]=SASREC_HARD"},
       "add  system { name: \"sasrec\" }"},
      {{"system[0].name=markov", kBoth[0], "predict.also_candidates[1]=POPULARITY"},
       "predict.also_candidates names POPULARITY twice"},
      {{"system[0].name=markov", "predict.also_candidates[0]=UNIFORM"},
       "names UNIFORM, which split.candidates is already"},
      {{"system[0].name=sasrec", "predict.also_candidates[0]=SASREC_HARD", "predict.hard_pool=18"},
       "predict.hard_pool is 18, fewer than split.direct_negatives, 19"},
      {{"system[0].name=sasrec", "split.candidates=SASREC_HARD"},
       "name it in predict.also_candidates"},
  };
  for (const auto& [overrides, says] : kCases) try {
      Chain(LoadTiny(overrides));
      ADD_FAILURE() << "no error: " << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kUsage);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
}

// Of the user with the most events RELEASED may draw what was last, the other ways not: as many
// others as it finds are one too many for them.
TEST(Candidates, SaysWhereTooFewItemsAreLeft) {
  Facts facts;
  const auto catalogue = data::ReadSource(LoadTiny({}).catalogue(), facts);
  int64_t most = 0;
  for (int64_t user = 0; user < catalogue.user_count(); ++user)
    most = std::max(most, std::ssize(catalogue.histories.row(user)));
  const int64_t count = catalogue.item_count() - (most - 1);
  for (const std::string how : {"UNIFORM", "POPULARITY", "SASREC_HARD"}) {
    Names all = kSystems;
    all.insert(all.end(), {"split.candidates=RELEASED", Cat("split.direct_negatives=", count),
                           "predict.hard_pool=148", "predict.also_candidates[0]=" + how});
    const Temporary folder;
    try {
      RunAlone(LoadTiny(all), folder.path());
      ADD_FAILURE() << "no error: " << how;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kData);
      EXPECT_NE(std::string(error.what()).find("can be negatives, "), std::string::npos)
          << error.what();
    }
    EXPECT_TRUE(fs::exists(folder / "split")) << how;  // it is the candidates that fail
  }
}

// ---- data_mismatch, stated where the data have the name of one of the paper's

json ReportRows(const Names& overrides) {
  const Temporary folder;
  RunAlone(LoadTiny(overrides, kCounting), folder.path());
  return json::parse(ReadFile(folder / "report/report.json"));
}

TEST(DataMismatch, StandsInEveryRowWhereTheAuditStatesIt) {
  const json rows = ReportRows({"protocol=AS_PUBLISHED", "catalogue.dataset=Luxury Beauty"});
  EXPECT_EQ(rows.size(), 2u * 2 * 6);
  for (const json& row : rows) EXPECT_TRUE(row.at("data_mismatch").get<bool>()) << row;
  for (const Names& silent : {Names{"protocol=AS_PUBLISHED"}, {"catalogue.dataset=Luxury Beauty"}})
    for (const json& row : ReportRows(silent)) EXPECT_FALSE(row.contains("data_mismatch"));
}

}  // namespace
}  // namespace whyrec::stages
