// Which stages a configuration names, which of them run, and why.
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

Names NamesOf(const std::vector<Stage>& chain) {
  Names names;
  for (const Stage& stage : chain) names.push_back(stage.name);
  return names;
}

Names ChainOf(const Names& overrides) { return NamesOf(Chain(LoadTiny(overrides))); }

TEST(Chain, NamesWhatTheSystemsNeed) {
  EXPECT_EQ(ChainOf({"system[0].name=popularity"}),
            (Names{"catalogue", "split", "audit", "train.popularity", "predict.popularity",
                   "metrics.popularity", "report"}));
  EXPECT_EQ(ChainOf({"system[0].name=lightgcn"}),
            (Names{"catalogue", "split", "audit", "graphs", "train.lightgcn", "predict.lightgcn",
                   "metrics.lightgcn", "report"}));
  const std::string isrf = "system[0].name=isrf";
  EXPECT_EQ(ChainOf({isrf, "isrf.variant=POD"}), (Names{"catalogue", "split", "audit", "train.isrf",
                                                        "predict.isrf", "metrics.isrf", "report"}));
  EXPECT_EQ(ChainOf({isrf, "isrf.variant=ELMREC"}),
            (Names{"catalogue", "split", "audit", "graphs", "train.isrf", "predict.isrf",
                   "metrics.isrf", "report"}));
  EXPECT_EQ(ChainOf({isrf, "isrf.variant=ISRF_CODE", "system[1].name=markov"}),
            (Names{"catalogue", "split", "audit", "rationales.item", "rationales.user",
                   "embeddings", "graphs", "train.isrf", "predict.isrf", "metrics.isrf",
                   "train.markov", "predict.markov", "metrics.markov", "report"}));
}

TEST(Chain, HasEveryInputBeforeItsStage) {
  for (const Names& systems :
       {Names{"isrf.variant=POD", "system[0].name=isrf"},
        {"isrf.variant=ELMREC", "system[0].name=isrf"},
        {"isrf.variant=ISRF_CODE", "system[0].name=isrf"},
        {"isrf.variant=POD", "system[0].name=isrf", "system[1].name=lightgcn"},
        {"system[0].name=lightgcn", "system[1].name=markov"}}) {
    std::set<std::string> before;
    for (const Stage& stage : Chain(LoadTiny(systems))) {
      for (const std::string& input : stage.inputs)
        EXPECT_TRUE(before.count(input)) << stage.name << " reads " << input;
      before.insert(stage.name);
    }
  }
}

TEST(Chain, RefusesWhatCannotWork) {
  const struct {
    Names overrides;
    std::string says;
  } kCases[] = {
      {{}, "names no system"},
      {{"system[0].name=markow"}, "there is no system \"markow\"; did you mean \"markov\"?"},
      {{"system[0].name=markov", "system[1].name=markov"}, "system \"markov\" is named twice"},
      {{"system[0].name=markov", "system[0].knobs.mask_histori=true"},
       "did you mean \"mask_history\"?"},
      {{"system[0].name=markov", "catalogue.folder=/tmp"}, "give either `folder`"},
      {{"system[0].name=isrf", "rationales.backend=REPLAY"}, "rationales.replay_file is not set"},
  };
  for (const auto& [overrides, says] : kCases) try {
      Chain(LoadTiny(overrides));
      ADD_FAILURE() << "no error: " << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::kUsage);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
}

// All stages of the run from `first` on.
Names From(const std::string& first) {
  const Names all = NamesOf(Chain(LoadTiny({}, kCounting)));
  return {std::find(all.begin(), all.end(), first), all.end()};
}

// One finished run of the counting systems that all tests below copy.
class Rerun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    done_ = new Temporary;
    RunAlone(LoadTiny({}, kCounting), done_->path());
  }
  static void TearDownTestSuite() { delete done_; }
  void SetUp() override { fs::copy(done_->path(), folder_.path(), fs::copy_options::recursive); }

  Names RunWith(const Names& overrides) {
    return RunAlone(LoadTiny(overrides, kCounting), folder_.path());
  }
  Names PlanWith(const Names& overrides) {
    return PlanChain(LoadTiny(overrides, kCounting), store::Workspace(folder_.path()));
  }

  static Temporary* done_;
  Temporary folder_;
};
Temporary* Rerun::done_ = nullptr;

TEST_F(Rerun, FindsNothingToDo) {
  EXPECT_EQ(RunWith({}), Names());
  const Names plan = PlanWith({});
  EXPECT_EQ(plan.size(), 10u);
  for (const std::string& line : plan) EXPECT_TRUE(line.starts_with("skip  ")) << line;
}

TEST_F(Rerun, RunsWhatAChangeReaches) {
  const struct {
    Names change, ran;
  } kCases[] = {
      {{"metrics.bootstrap=200"}, {"metrics.popularity", "metrics.markov", "report"}},
      {{"name=other"}, {"report"}},
      {{"system[1].knobs.mask_history=false"}, From("train.markov")},
      {{"isrf.layers=2", "train.steps=9", "graphs.neighbours=7"}, {}},
      {{"execution.threads=2", "train.checkpoint_steps=7"}, {}},
      {{"execution.reproducible=true"}, From("catalogue")},
      // The batch cuts the work, but not the answers of systems that count: same bytes, nothing
      // follows.
      {{"predict.batch_users=5"}, {"predict.popularity", "predict.markov"}},
  };
  for (const auto& [change, want] : kCases) {
    const Temporary folder;
    fs::copy(done_->path(), folder.path(), fs::copy_options::recursive);
    EXPECT_EQ(RunAlone(LoadTiny(change, kCounting), folder.path()), want) << change[0];
  }
  Names all = From("train.popularity");
  all.insert(all.begin(), {"split", "audit"});
  EXPECT_EQ(RunWith({"split.direct_negatives=9"}), all);
  EXPECT_EQ(RunWith({}), all) << "and back";
}

TEST_F(Rerun, RepairsDamageAndStopsThere) {
  const auto before = Contents(folder_.path());
  fs::remove(folder_ / "predict.markov" / "predictions.h5");
  EXPECT_EQ(RunWith({}), Names{"predict.markov"});
  std::ofstream(folder_ / "metrics.popularity" / "metrics.json", std::ios::app) << "x";
  EXPECT_EQ(RunWith({}), Names{"metrics.popularity"});
  fs::remove(folder_ / "split" / "manifest.txtpb");
  EXPECT_EQ(RunWith({}), Names{"split"});
  EXPECT_EQ(Contents(folder_.path()), before);
}

TEST_F(Rerun, ASystemMoreRunsThatSystemAlone) {
  const fs::path fresh = folder_ / "one";
  RunAlone(LoadTiny({"system[0].name=popularity"}), fresh);
  EXPECT_EQ(RunAlone(LoadTiny({}, kCounting), fresh),
            (Names{"train.markov", "predict.markov", "metrics.markov", "report"}));
}

std::string LineOf(const Names& plan, const std::string& stage) {
  for (const std::string& line : plan)
    if (line.substr(6, stage.size()) == stage && line.size() > 6) return line;
  return "no line";
}

TEST_F(Rerun, PlanSaysWhy) {
  for (const std::string& line :
       PlanChain(LoadTiny({}, kCounting), store::Workspace(folder_ / "nothing yet")))
    EXPECT_TRUE(line.starts_with("run   ") && line.ends_with(": no artefact yet")) << line;

  const std::string perhaps =
      "perhaps: its input predict.markov runs (skipped if that yields the same content)";
  const Names changed = PlanWith({"predict.batch_users=5"});
  EXPECT_TRUE(LineOf(changed, "train.markov").starts_with("skip  train.markov: took "));
  EXPECT_EQ(LineOf(changed, "predict.markov"),
            "run   predict.markov: configuration changed: predict.batch_users=5 was 8");
  EXPECT_EQ(LineOf(changed, "metrics.markov"), "run   metrics.markov: " + perhaps);

  fs::remove(folder_ / "predict.markov" / "predictions.h5");
  const Names damaged = PlanWith({});
  EXPECT_EQ(LineOf(damaged, "predict.markov"), "run   predict.markov: predictions.h5 is missing");
  EXPECT_EQ(LineOf(damaged, "metrics.markov"), "run   metrics.markov: " + perhaps);
  EXPECT_TRUE(LineOf(damaged, "metrics.popularity").starts_with("skip  metrics.popularity: took "));
}

}  // namespace
}  // namespace whyrec::stages
