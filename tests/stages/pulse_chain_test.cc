// PULSE from the catalogue to the report: the same artefacts on one and three ranks with every back
// end, every variant under every protocol, no held-out target in a text under STRICT.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "src/base/text_file.h"
#include "src/commands/commands.h"
#include "src/systems/pulse/prompt.h"
#include "src/text/tokenizer.h"
#include "tests/stages/pulse_run.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

// Stages that sum over ranks, or that run as one program on them all.
Names Trained(const config::RunConfig& config) {
  Names names;
  for (const Stage& stage : Chain(config))
    if (stage.kind == Kind::kCollective && stage.name != "neighbours") names.push_back(stage.name);
  return names;
}

void CopyArtefacts(const fs::path& from, const fs::path& to, const Names& names) {
  for (const std::string& name : names)
    fs::copy(from / name, to / name, fs::copy_options::recursive);
}

// One run alone, and one on three ranks that gets the trained models of the first.
void ExpectSameOnThreeRanks(const config::RunConfig& config, const fs::path& alone) {
  const Names all = RunAlone(config, alone), trained = Trained(config);
  const auto want = Contents(alone);
  EXPECT_TRUE(want.contains("rationales.positive/reasons.h5"));
  EXPECT_TRUE(want.contains("neighbours/neighbours.h5"));
  EXPECT_TRUE(want.contains("rationales.tree/reasons.h5"));
  EXPECT_TRUE(want.contains("select.thought/selection.h5"));
  EXPECT_TRUE(want.contains("metrics.pulse.thought/metrics.json"));
  for (const std::string& how : AlsoCandidates(config))
    EXPECT_TRUE(want.contains("candidates." + how + "/candidates.h5"));
  const Temporary shared;
  CopyArtefacts(alone, shared.path(), trained);
  const Names ran = RunOn(3, config, shared.path());
  EXPECT_EQ(ran.size(), all.size() - trained.size());
  EXPECT_EQ(Contents(shared.path()), want);
}

// What a run's back end wrote comes back from a file: both stages run again, alone and on three
// ranks, and yield the same bytes, so that nothing else has to run.
void ExpectSameFromReplay(const config::RunConfig& config, const fs::path& alone) {
  const Temporary folder;
  if (config.rationales().backend() == config::RationalesConfig::TEMPLATE) {
    std::ofstream out(folder / "answers.jsonl");  // gzip members in a row
    for (const char* stage : {"rationales.positive", "rationales.tree"})
      out << ReadFile(alone / stage / "records.jsonl.gz");
  } else {
    commands::Answers(alone, folder / "answers.jsonl");
  }
  config::RunConfig replay = config;
  replay.mutable_rationales()->set_backend(config::RationalesConfig::REPLAY);
  replay.mutable_rationales()->set_replay_file((folder / "answers.jsonl").string());
  const auto want = Contents(alone);
  for (int ranks : {1, 3}) {
    const fs::path copy = folder / Cat(ranks);
    fs::copy(alone, copy, fs::copy_options::recursive);
    Names ran = RunOn(ranks, replay, copy);
    std::ranges::sort(ran);
    EXPECT_EQ(ran, (Names{"rationales.positive", "rationales.tree"}));
    EXPECT_EQ(Contents(copy), want);
  }
}

TEST(PulseChain, ThreeRanksAndReplayYieldTheSameFromTheTemplate) {
  const auto config = LoadPulse(
      {"THOUGHT", "BASE", "SBERT"},
      {"predict.also_candidates[0]=POPULARITY", "predict.also_candidates[1]=SASREC_HARD"});
  const Temporary alone;
  ExpectSameOnThreeRanks(config, alone.path());
  ExpectSameFromReplay(config, alone.path());
  EXPECT_EQ(FactOf(alone.path(), "rationales.tree", "texts written"), Cat(13 * 3 * 24));
  EXPECT_EQ(FactOf(alone.path(), "rationales.tree", "parse_rate"), "100 %");
  EXPECT_EQ(FactOf(alone.path(), "rationales.positive", "texts written"), "24");
  EXPECT_NE(FactOf(alone.path(), "rationales.positive", "title_mention_rate"), "no such fact");
}

// The scorer prunes: every rank loads it, and who asks has to prune alike.
TEST(PulseChain, ThreeRanksAndReplayYieldTheSameChains) {
  const auto config = LoadPulse({"THOUGHT"}, {"pulse.tree.algorithm=BEAM_CHAIN"});
  const Temporary alone;
  ExpectSameOnThreeRanks(config, alone.path());
  ExpectSameFromReplay(config, alone.path());
}

TEST(PulseChain, ThreeRanksAndReplayYieldTheSameFromALanguageModel) {
  const auto config = LoadPulse(
      {"THOUGHT", "LOG_LIKELIHOOD"},
      {"rationales.backend=IN_PROCESS", "rationales.unit_size=5",
       "pulse.positive.max_new_tokens=12", "pulse.tree.max_new_tokens=12",
       "pulse.positive.prompt_tokens=256", "pulse.tree.branch=2", "catalogue.planted.users=12"});
  const Temporary alone;
  ExpectSameOnThreeRanks(config, alone.path());
  ExpectSameFromReplay(config, alone.path());
  std::map<std::string, int> parses;
  for (const auto& [split, trees] : TreesOf(alone.path()))
    for (const gen::ReasonTree& tree : trees)
      for (const gen::ReasonNode& node : tree.nodes) {
        ++parses[node.parse];
        EXPECT_EQ(std::isfinite(node.log_likelihood), node.parse != "fallback text") << node.text;
      }
  EXPECT_GT(parses["fallback"], 100);  // the model's own words
  EXPECT_EQ(FactOf(alone.path(), "rationales.tree", "made of facts after failed answers"),
            Cat(parses["fallback text"]));
}

// ---- protocols

json ReportOf(const fs::path& workspace) {
  return json::parse(ReadFile(workspace / "report/report.json"));
}

// Rows that chose another node; rows whose choice has another score.
struct Difference {
  int nodes = 0, scores = 0;
};

Difference Compare(const gen::ChosenReasons& a, const gen::ChosenReasons& b) {
  Difference difference;
  for (const auto& [split, rows] : a)
    for (size_t u = 0; u < rows.size(); ++u) {
      const gen::ChosenReason& other = b.at(split)[u];
      difference.nodes += rows[u].node != other.node;
      difference.scores += rows[u].node >= 0 && other.node >= 0 && rows[u].score != other.score;
    }
  return difference;
}

struct ProtocolRun {
  explicit ProtocolRun(const Names& overrides) : config(LoadPulse(kPulseVariants, overrides)) {
    RunAlone(config, path());
  }
  const fs::path& path() const { return folder.path(); }

  // Every variant has its row over all users, among `candidates`.
  void ExpectRows(int candidates) const {
    std::map<std::string, double> hits;
    for (const json& row : ReportOf(path()))
      if (row.at("system") == "pulse" && row.at("metric") == "HR@1") {
        EXPECT_EQ(row.at("users"), 24);
        EXPECT_EQ(row.at("task"), "direct");
        hits[row.at("variant")] = row.at("value");
      }
    EXPECT_EQ(hits.size(), kPulseVariants.size());
    for (const std::string& variant : kPulseVariants) EXPECT_EQ(hits.count(variant), 1u) << variant;
    const std::string text = ReadFile(path() / "report/report.md");
    EXPECT_NE(text.find(Cat("direct: ", candidates, " candidates, 24 users")), text.npos) << text;
    EXPECT_NE(text.find(", reasons: template"), text.npos) << text;
  }
  // Of two ways to choose. Anchors of the same text choose and score alike. Another text moves the
  // scores of (nearly) all 72 rows; whether it moves a choice, too, depends on the encoders.
  void ExpectSameAnchors(const std::string& a, const std::string& b) const {
    const Difference difference = Compare(ChoicesOf(path(), a), ChoicesOf(path(), b));
    EXPECT_EQ(difference.nodes, 0) << a << " " << b;
    EXPECT_EQ(difference.scores, 0) << a << " " << b;
  }
  void ExpectOtherAnchors(const std::string& a, const std::string& b) const {
    EXPECT_GE(Compare(ChoicesOf(path(), a), ChoicesOf(path(), b)).scores, 60) << a << " " << b;
  }

  Temporary folder;
  config::RunConfig config;
};

TEST(PulseChain, EveryVariantUnderStrict) {
  const ProtocolRun run({});
  run.ExpectRows(10);
  for (const auto& [split, trees] : TreesOf(run.path()))
    for (const gen::ReasonTree& tree : trees) EXPECT_EQ(tree.nodes.size(), 13u);
  // The anchor never holds the target; the oracle's does.
  run.ExpectSameAnchors("thought", "blind");
  run.ExpectOtherAnchors("thought", "oracle");
  EXPECT_EQ(FactOf(run.path(), "select.log_likelihood", "reasons chosen"), "0 of 72");
}

TEST(PulseChain, EveryVariantAsPublished) {
  // The target stands first, since at the end of the text the encoders' limit cuts it off.
  const ProtocolRun run({"protocol=AS_PUBLISHED", "pulse.behaviour.chosen_first=true"});
  run.ExpectRows(10);
  run.ExpectSameAnchors("thought", "oracle");
  run.ExpectOtherAnchors("thought", "blind");
}

TEST(PulseChain, EveryVariantOfTheReleasedCode) {
  const ProtocolRun run(
      {"protocol=AS_PUBLISHED", "reading=RELEASED_CODE", "split.direct_negatives=4"});
  run.ExpectRows(5);
  run.ExpectSameAnchors("thought", "oracle");
  const auto pool = TreesOf(run.path());
  const auto chosen = ChoicesOf(run.path(), "thought");
  for (const auto& [split, trees] : pool)
    for (size_t user = 0; user < trees.size(); ++user) {
      const auto& nodes = trees[user].nodes;
      ASSERT_EQ(nodes[0].path, "base");
      std::map<int64_t, std::vector<double>> scores;  // by level
      for (const gen::ReasonNode& node : nodes) {
        EXPECT_EQ(std::isfinite(node.score), node.level > 0);
        scores[node.level].push_back(node.score);
        if (node.level < 2) continue;
        // Only the two best of a level grow, and a chain begins with its parent.
        const gen::ReasonNode& parent = nodes[static_cast<size_t>(node.parent)];
        EXPECT_TRUE(node.text.starts_with(parent.text + " ")) << node.text;
        const auto& level = scores[parent.level];
        EXPECT_LE(std::ranges::count_if(level, [&](double s) { return s > parent.score; }), 1);
      }
      EXPECT_EQ(scores.rbegin()->first, 3);
      // The search's scorer and the selection agree.
      const gen::ChosenReason& choice = chosen.at(split)[user];
      EXPECT_EQ(nodes[static_cast<size_t>(choice.node)].level, 3);
      EXPECT_NEAR(choice.score, *std::ranges::max_element(scores[3]), 1e-5);
      EXPECT_EQ(ChoicesOf(run.path(), "base").at(split)[user].node, 0);
      if (user > 3) break;
    }
}

// ---- leaks

// Held-out targets that no text may name: neither in the history nor with a neighbour.
struct Secret {
  std::string split, title;
  int64_t user;
  gen::Evidence evidence;
};

std::vector<Secret> SecretsOf(const PulseData& data) {
  std::vector<Secret> secrets;
  for (const data::Phase phase : {data::Phase::kValidation, data::Phase::kTest})
    for (int64_t user = 0; user < data.train.user_count(); ++user) {
      const std::string split = phase == data::Phase::kTest ? "test" : "validation";
      Secret secret{.split = split,
                    .title = data.train.items[data.labels.Target(phase, user)].title,
                    .user = user,
                    .evidence = data.EvidenceOf(split, user)};
      std::set<std::string> shown;  // by the split alone: a leak into the evidence is none of it
      const auto show = [&](const auto& items) {
        for (const int64_t item : items) shown.insert(data.train.items[item].title);
      };
      show(data.labels.InputHistory(phase, data.train, user));
      for (const int32_t other : data.neighbours.at(split).row<int32_t>(user))
        show(data.train.histories.row(other));
      if (!shown.contains(secret.title)) secrets.push_back(std::move(secret));
    }
  return secrets;
}

// All that a held-out example's texts may become: P2, P3 and P4 with every node of its tree, and
// the reasons themselves.
Names TextsOf(const gen::Evidence& evidence, const gen::ReasonTree& tree,
              const gen::PromptLimits& limits) {
  Names texts;
  const auto add = [&](const gen::Prompt& prompt) { texts.push_back(prompt.system + prompt.user); };
  add(gen::BasePrompt(evidence, limits));
  add(gen::ChainPrompt(evidence, "", limits));
  for (const gen::ReasonNode& node : tree.nodes) {
    texts.push_back(node.text);
    add(gen::RefinePrompt(evidence, node.text, limits));
    add(gen::ChainPrompt(evidence, node.text, limits));
  }
  return texts;
}

bool AnyNames(const Names& texts, const std::string& title) {
  return std::ranges::any_of(
      texts, [&](const std::string& text) { return text.find(title) != text.npos; });
}

// What the scorer reads before the first candidate.
std::string ScorerPrefix(const PulseData& data, const systems::ScorerPrompts& prompts,
                         const text::Tokenizer& tokenizer, const Secret& secret,
                         const gen::ChosenReason& reason) {
  const auto phase = secret.split == "test" ? data::Phase::kTest : data::Phase::kValidation;
  const auto history = data.labels.InputHistory(phase, data.train, secret.user);
  return tokenizer.Decode(
      prompts.Branched(history, 5, &reason, data.labels.Candidates(phase, secret.user)).prefix);
}

TEST(PulseChain, NoTextNamesAHeldOutTargetUnderStrict) {
  const auto config = LoadPulse({"THOUGHT"}, {"catalogue.planted.tastes=16"});
  const Temporary folder;
  RunAlone(config, folder.path());
  const PulseData data(folder.path(), config);
  const auto pool = TreesOf(folder.path());
  const auto chosen = ChoicesOf(folder.path(), "thought");
  const auto tokenizer = text::LoadTokenizer(folder / "language");
  const systems::ScorerPrompts prompts(data.train, config, *tokenizer);
  config::BehaviourConfig published = config.pulse().behaviour();
  published.set_anchor(config::BehaviourConfig::WITH_TARGET);
  const auto secrets = SecretsOf(data);
  EXPECT_GE(secrets.size(), 24u);  // of 48
  int64_t texts = 0;
  for (const Secret& secret : secrets) {
    const gen::ReasonTree& tree = pool.at(secret.split)[static_cast<size_t>(secret.user)];
    const auto anchor = [&](const config::BehaviourConfig& behaviour) {
      return data.examples.AnchorOf(secret.split, secret.user, behaviour);
    };
    Names all = TextsOf(secret.evidence, tree, data.limits());
    all.push_back(anchor(config.pulse().behaviour()));
    const gen::ChosenReason& reason = chosen.at(secret.split)[static_cast<size_t>(secret.user)];
    all.push_back(ScorerPrefix(data, prompts, *tokenizer, secret, reason));
    for (const std::string& text : all)
      EXPECT_EQ(text.find(secret.title), text.npos) << secret.title << " in: " << text;
    texts += std::ssize(all);
    // The same search finds what is there.
    EXPECT_NE(anchor(published).find(secret.title), std::string::npos);
    gen::Evidence leaking = secret.evidence;
    leaking.history.push_back({.title = secret.title});
    EXPECT_TRUE(AnyNames(TextsOf(leaking, {}, data.limits()), secret.title));
    EXPECT_NE(ScorerPrefix(data, prompts, *tokenizer, secret, {.node = 0, .text = secret.title})
                  .find(secret.title),
              std::string::npos);
  }
  EXPECT_GE(texts, 24 * 40);
}

}  // namespace
}  // namespace whyrec::stages
