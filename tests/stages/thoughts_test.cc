// The stages thoughts and select on a made-up pool: selections against a plain loop over users with
// cosines of unnormalised vectors, and one rank against three.
#include <cmath>
#include <fstream>

#include "src/base/rng.h"
#include "src/gen/behaviour.h"
#include "src/gen/reason_pool.h"
#include "src/lm/thought_space.h"
#include "src/stages/examples.h"
#include "src/store/hdf5_file.h"
#include "tests/stages/run.h"

namespace whyrec::stages {
namespace {

constexpr int64_t kUsers = 70;  // more than one unit
constexpr const char* kWords[] = {"alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa"};

std::string Words(const char* purpose, int64_t row, int64_t count) {
  Rng rng(5, purpose, 0, static_cast<uint64_t>(row));
  std::string text;
  for (int64_t i = 0; i < count; ++i)
    text += (i > 0 ? " " : "") + std::string(kWords[rng.Below(std::size(kWords))]);
  return text;
}

data::Catalogue MakeCatalogue() {
  data::Catalogue out;
  for (int64_t i = 0; i < 20; ++i)
    out.items.push_back({.id = Cat(i), .title = Words("title", i, 3)});
  out.items[3].title = "";
  out.items[3].brand = "omega works";
  for (int64_t u = 0; u < kUsers; ++u) {
    out.users.push_back(Cat(u));
    auto row = Rng(6, "history", 0, static_cast<uint64_t>(u)).Permutation(20);
    row.resize(u == 0 ? 3 : 5);  // user 0 has one training item
    out.histories.Append(row);
    for (size_t i = 0; i < row.size(); ++i) {
      out.times.push_back(static_cast<int64_t>(i));
      out.ratings.push_back(5);
      out.reviews.push_back(Words("review", row[i] * 100 + u, 4));
    }
  }
  return out;
}

gen::ReasonTree Tree(const std::string& split, int64_t user) {
  gen::ReasonTree tree{.levels = 3};
  const auto add = [&](int64_t parent, int64_t level, const std::string& path) {
    const int64_t number = user * 100 + std::ssize(tree.nodes);
    tree.nodes.push_back({.parent = parent,
                          .level = level,
                          .path = path,
                          .text = Words(("reason " + split).c_str(), number, 5),
                          .log_likelihood = static_cast<float>(
                              -Rng(7, split, 0, static_cast<uint64_t>(number)).Uniform())});
  };
  add(-1, 0, "base");
  for (int b = 0; b < 2; ++b) add(0, 1, Cat("base/", b));
  for (int leaf = 0; leaf < 4; ++leaf) add(1 + leaf / 2, 2, Cat("base/", leaf / 2, "/", leaf % 2));
  return tree;
}

struct Pools {
  gen::ReasonPool tree, positive;
  Pools() {
    for (const char* split : kSplits)
      for (int64_t u = 0; u < kUsers; ++u) tree[split].push_back(Tree(split, u));
    tree["train"][0].nodes.clear();  // has no training example
    for (int64_t u = 0; u < kUsers; ++u)
      positive["train"].push_back(
          {.nodes = {{.text = u == 5 ? "" : Words("positive", u, 6)}}, .levels = 1});
  }
};

// Letters, so that every word has its own pieces.
void WriteVocabulary(const fs::path& file) {
  std::ofstream out(file);
  for (const char* piece : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) out << piece << "\n";
  for (char c = 'a'; c <= 'z'; ++c) out << c << "\n##" << c << "\n";
  out << ":\n;\n|\n";
}

double Cosine(const HostTensor& a, const HostTensor& b) {
  double product = 0, a2 = 0, b2 = 0;
  for (int64_t i = 0; i < a.dim(1); ++i) {
    const double x = a.row<float>(0)[i], y = b.row<float>(0)[i];
    product += x * y, a2 += x * x, b2 += y * y;
  }
  return product / std::sqrt(a2 * b2);
}

class Selecting : public testing::Test {
 protected:
  void SetUp() override {
    nn::SetThreads(1);
    SetProgressMode(ProgressMode::kNone);
    WriteVocabulary(folder_.path() / "vocab.txt");
    Configure({});
    split_ = data::MakeSplit(MakeCatalogue(), config_.split());
    fs::create_directories(workspace_.Of("split"));
    data::Save(split_, workspace_.Of("split"));
    for (const char* name : {"rationales.tree", "rationales.positive"})
      fs::create_directories(workspace_.Of(name));
    SavePools();
    const fs::path thoughts = workspace_.Of("thoughts");
    lm::WriteRandomEncoder(config_.pulse().thought(), 1, thoughts / "rationale");
    lm::WriteRandomEncoder(config_.pulse().thought(), 2, thoughts / "behaviour");
    lm::WriteRandomEncoder(config_.pulse().thought(), 3, thoughts / "start");
    lm::SaveThoughtFacts({.pooling = config::ThoughtConfig::MEAN, .max_tokens = 40}, thoughts);
  }

  void Configure(Names overrides) {
    std::ofstream(folder_.path() / "run.txtpb")
        << "split { direct_negatives: 4 }\n"
           "pulse { behaviour { max_tokens: 40 }\n  thought { vocabulary: \""
        << (folder_.path() / "vocab.txt").string()
        << "\" width: 16 inner: 32 layers: 1 heads: 2 dropout: 0.1\n"
           "    train { global_batch: 8 epochs: 2 } }\n}\nexecution { device: \"cpu\" }\n";
    config_ = config::Load(folder_.path() / "run.txtpb", overrides);
  }
  void SavePools() {
    gen::SavePool(pools_.tree, workspace_.Of("rationales.tree") / "reasons.h5");
    gen::SavePool(pools_.positive, workspace_.Of("rationales.positive") / "reasons.h5");
  }

  fs::path RunStage(const Stage& stage, int ranks = 1) {
    const fs::path partial = workspace_.folder() / Cat(stage.name, ".", ranks, ".", runs_++);
    fs::create_directories(partial);
    cluster::RunThreads(ranks, [&](cluster::Communicator& comm) {
      stage.run({config_, comm, workspace_, {}, stage.name}, partial);
    });
    return partial;
  }
  gen::ChosenReasons Select(const std::string& by) {
    return gen::LoadChosen(RunStage(SelectStage(config_, by)) / "selection.h5");
  }
  const gen::ReasonTree& TreeOf(const std::string& split, int64_t user) {
    return pools_.tree.at(split)[static_cast<size_t>(user)];
  }

  // Equation 2 as a loop.
  void ExpectBest(const gen::ChosenReasons& got, const fs::path& reasons, const fs::path& anchors,
                  lm::Pooling pooling, bool with_target, int least_clear) {
    int clear = 0;  // leaves that lose by more than rounding
    const lm::EncoderOptions raw{.max_tokens = 40, .pooling = pooling, .normalise = false};
    const auto rationale = lm::LoadEncoder(reasons, raw), behaviour = lm::LoadEncoder(anchors, raw);
    const Examples examples(split_.train, split_.labels);
    const data::Catalogue all = MakeCatalogue();
    const auto& config = config_.pulse().behaviour();
    for (const char* split : kSplits)
      for (int64_t u = 1; u < kUsers; ++u) {
        const auto row = all.histories.row(u);
        const size_t place = 2 + (std::ranges::find(kSplits, std::string(split)) - kSplits);
        ASSERT_EQ(examples.History(split, u).size(), place);
        const std::string title = all.items[static_cast<size_t>(row[place])].title;
        const gen::Target target{title.empty() ? "omega works" : title};
        const HostTensor h = behaviour->Encode({gen::BehaviourText(
            examples.History(split, u), with_target ? &target : nullptr, config)});
        std::map<int64_t, double> cosines;  // by leaf
        for (int64_t i = 3; i < 7; ++i)
          cosines[i] =
              Cosine(h, rationale->Encode({TreeOf(split, u).nodes[static_cast<size_t>(i)].text}));
        double best = -2;
        for (const auto& [leaf, cosine] : cosines) best = std::max(best, cosine);
        const gen::ChosenReason& choice = got.at(split).at(static_cast<size_t>(u));
        ASSERT_TRUE(cosines.contains(choice.node)) << split << " " << u;
        // Rounding may decide between near-equals: encoders in fp32, alone and in batches.
        EXPECT_NEAR(cosines[choice.node], best, 1e-5);
        EXPECT_NEAR(choice.score, best, 1e-5);
        EXPECT_EQ(choice.text, TreeOf(split, u).nodes[static_cast<size_t>(choice.node)].text);
        for (const auto& [leaf, cosine] : cosines) clear += cosine < best - 1e-4;
      }
    EXPECT_GT(clear, least_clear);
  }

  Temporary folder_;
  store::Workspace workspace_{folder_.path() / "workspace"};
  config::RunConfig config_;
  data::Split split_;
  Pools pools_;
  int runs_ = 0;
};

TEST_F(Selecting, ThoughtIsTheLargestCosineOfTheLeaves) {
  const fs::path thoughts = workspace_.Of("thoughts");
  const auto check = [&](const std::string& by, bool with_target) {
    const gen::ChosenReasons got = Select(by);
    EXPECT_EQ(got.at("train")[0].node, -1);
    ExpectBest(got, thoughts / "rationale", thoughts / "behaviour", lm::Pooling::kMean, with_target,
               300);
  };
  for (const char* protocol : {"protocol=STRICT", "protocol=AS_PUBLISHED"}) {
    Configure({protocol});
    check("thought", std::string(protocol) == "protocol=AS_PUBLISHED");
    check("oracle", true);
    check("blind", false);
  }
}

TEST_F(Selecting, EncodersThatWereNeverTrained) {
  const fs::path start = workspace_.Of("thoughts") / "start";
  ExpectBest(Select("distilbert"), start, start, lm::Pooling::kCls, false, -1);
  const fs::path bert = fs::path(WHYREC_SOURCE_DIR) / "tests/golden/bert/bert";
  Configure({"pulse.tree.sbert=" + bert.string(), "pulse.tree.distilbert=" + bert.string(),
             "pulse.behaviour.max_tokens=32"});
  const lm::EncoderOptions raw{.max_tokens = 32};
  EXPECT_EQ(SelectStage(config_, "distilbert").inputs, (Names{"split", "rationales.tree"}));
  EXPECT_EQ(SelectStage(config_, "sbert").files.at(0).second, bert.string());
}

TEST_F(Selecting, FirstOfEqualsWinsAndAllNodesMayTakePart) {
  for (auto& [split, trees] : pools_.tree)
    for (gen::ReasonTree& tree : trees)
      for (gen::ReasonNode& node : tree.nodes) node.text = "alpha";
  SavePools();
  EXPECT_EQ(Select("thought").at("test")[9].node, 3);  // the first leaf
  Configure({"pulse.tree.score_nodes=ALL"});
  const auto folder = RunStage(SelectStage(config_, "thought"));
  EXPECT_EQ(gen::LoadChosen(folder / "selection.h5").at("test")[9].node, 0);
  const store::Hdf5Reader file(folder / "scores.h5");
  EXPECT_EQ(file.ReadInts("test/node").size(), 7u * kUsers);
  EXPECT_EQ(file.ReadFloats("train/score").size(), 7u * (kUsers - 1));
  Configure({"pulse.tree.score_nodes=ALL", "pulse.tree.algorithm=BEAM_CHAIN"});
  EXPECT_EQ(Select("thought").at("test")[9].node, 3);  // chains: the last level
}

TEST_F(Selecting, LogLikelihoodWhereItIsANumber) {
  auto& nodes = pools_.tree["test"][4].nodes;
  for (gen::ReasonNode& node : nodes) node.log_likelihood = NAN;
  nodes[5].log_likelihood = -9;
  for (gen::ReasonNode& node : pools_.tree["test"][6].nodes) node.log_likelihood = NAN;
  SavePools();
  const gen::ChosenReasons got = Select("log_likelihood");
  EXPECT_EQ(got.at("test")[4].node, 5);
  EXPECT_EQ(got.at("test")[6].node, -1);
  for (int64_t u = 7; u < kUsers; ++u) {
    const auto& tree = TreeOf("test", u).nodes;
    const gen::ChosenReason& choice = got.at("test")[static_cast<size_t>(u)];
    for (size_t i = 3; i < 7; ++i) EXPECT_LE(tree[i].log_likelihood, choice.score);
    EXPECT_EQ(tree[static_cast<size_t>(choice.node)].log_likelihood, choice.score);
  }
}

TEST_F(Selecting, BaseAndRandom) {
  const gen::ChosenReasons base = Select("base");
  for (int64_t u = 1; u < kUsers; ++u)
    EXPECT_EQ(base.at("train")[static_cast<size_t>(u)].text, TreeOf("train", u).nodes[0].text);
  const gen::ChosenReasons random = Select("random");
  std::map<int64_t, int> counts;
  for (const char* split : kSplits)
    for (const gen::ChosenReason& choice : random.at(split)) ++counts[choice.node];
  EXPECT_EQ(counts[-1], 1);
  for (int64_t leaf = 3; leaf < 7; ++leaf) EXPECT_NEAR(counts[leaf], 3 * kUsers / 4.0, 25);
  Configure({"seed=1"});
  int same = 0;
  const gen::ChosenReasons other = Select("random");
  for (size_t u = 0; u < kUsers; ++u) same += random.at("test")[u].node == other.at("test")[u].node;
  EXPECT_LT(same, kUsers / 2);
}

TEST_F(Selecting, SplitsWithoutTreesHaveNoChoices) {
  pools_.tree.erase("validation");
  SavePools();
  for (const char* by : {"thought", "base"}) {
    const gen::ChosenReasons got = Select(by);
    EXPECT_FALSE(got.contains("validation")) << by;
    EXPECT_EQ(got.at("test").size(), kUsers + 0u) << by;
  }
}

TEST_F(Selecting, ThreeRanksWriteTheSameBytes) {
  const Stage stage = SelectStage(config_, "thought");
  const fs::path one = RunStage(stage, 1), three = RunStage(stage, 3);
  for (const char* file : {"selection.h5", "scores.h5"})
    EXPECT_EQ(Sha256OfFile(one / file), Sha256OfFile(three / file)) << file;
}

TEST_F(Selecting, Errors) {
  const auto expect = [](Exit code, const std::string& part, const std::function<void()>& body) {
    try {
      body();
      FAIL() << "no error: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  pools_.tree["test"].pop_back();
  SavePools();
  expect(Exit::kData, "the split has 70", [&] { Select("random"); });
  expect(Exit::kUsage, "\"luck\"", [&] { SelectStage(config_, "luck"); });
}

TEST_F(Selecting, ThoughtsAreTrainedOnThePoolAndLoadAgain) {
  const Stage stage = ThoughtsStage(config_);
  EXPECT_EQ(stage.inputs, (Names{"split", "rationales.positive"}));
  const fs::path trained = RunStage(stage, 2);
  EXPECT_FALSE(fs::exists(trained / "model.safetensors"));
  const lm::ThoughtFacts facts = lm::LoadThoughtFacts(trained);
  EXPECT_EQ(facts.max_tokens, 40);
  EXPECT_GE(facts.held_out, 1);
  EXPECT_LT(facts.held_out, 20);
  EXPECT_TRUE(std::isfinite(
      lm::LoadThoughtSpace(trained, "cpu")->Score({"history: alpha"}, {{"beta"}})[0][0]));
  config::RunConfig other = config_;
  other.mutable_pulse()->mutable_thought()->mutable_train()->set_epochs(3);
  EXPECT_NE(ThoughtsStage(other).settings, stage.settings);
}

TEST_F(Selecting, ExamplesShowWhatComesBeforeTheTarget) {
  const Examples examples(split_.train, split_.labels);
  const data::Catalogue all = MakeCatalogue();
  EXPECT_FALSE(examples.Has("train", 0));
  EXPECT_TRUE(examples.Has("test", 0));
  const auto row = all.histories.row(8);
  const auto history = examples.History("test", 8);
  ASSERT_EQ(history.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const data::Item& item = all.items[static_cast<size_t>(row[i])];
    EXPECT_EQ(history[i].title, item.title.empty() ? "omega works" : item.title);
    EXPECT_EQ(history[i].review, Words("review", row[i] * 100 + 8, 4));
  }
  EXPECT_EQ(examples.History("train", 8).size(), 2u);
}

}  // namespace
}  // namespace whyrec::stages
