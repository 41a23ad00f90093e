// select.<by>: picks, from every user's tree, the reason that the scorer reads: PULSE equation 2,
// and the other ways to choose of its ablations.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/gen/reason_pool.h"
#include "src/lm/thought_space.h"
#include "src/stages/examples.h"
#include "src/stages/units.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

constexpr int64_t kUnitTrees = 64;
constexpr int64_t kSentenceTokens = 256;  // the limit of all-MiniLM-L6-v2's published folder

using config::BehaviourConfig;
using config::TreeConfig;

// One user's tree and the nodes to choose from.
struct Choosing {
  std::string split;
  int64_t user;
  const gen::ReasonTree* tree;
  std::vector<int64_t> nodes;  // candidates
};

// The leaves, or all nodes if configured. For chains only the last level: earlier levels are its
// prefixes.
std::vector<int64_t> Candidates(const gen::ReasonTree& tree, const TreeConfig& config) {
  const bool all =
      config.score_nodes() == TreeConfig::ALL && config.algorithm() == TreeConfig::FULL_TREE;
  int64_t deepest = 0;
  for (const gen::ReasonNode& node : tree.nodes) deepest = std::max(deepest, node.level);
  std::vector<int64_t> nodes;
  for (int64_t i = 0; i < std::ssize(tree.nodes); ++i)
    if (all || tree.nodes[static_cast<size_t>(i)].level == deepest) nodes.push_back(i);
  return nodes;
}

std::vector<Choosing> AllChoosing(const gen::ReasonPool& pool, const TreeConfig& config) {
  std::vector<Choosing> all;
  for (const char* split : kSplits) {
    const auto found = pool.find(split);
    if (found == pool.end()) continue;
    for (int64_t user = 0; user < std::ssize(found->second); ++user) {
      const gen::ReasonTree& tree = found->second[static_cast<size_t>(user)];
      if (!tree.nodes.empty()) all.push_back({split, user, &tree, Candidates(tree, config)});
    }
  }
  return all;
}

using Scores = std::vector<float>;  // of a user's candidates; NaN: cannot be chosen

// The first of the largest; -1: none can be chosen.
int64_t First(const Scores& scores) {
  int64_t best = -1;
  for (int64_t i = 0; i < std::ssize(scores); ++i)
    if (!std::isnan(scores[static_cast<size_t>(i)]) &&
        (best < 0 || scores[static_cast<size_t>(i)] > scores[static_cast<size_t>(best)]))
      best = i;
  return best;
}

// Collects winners and all scores.
class Selection {
 public:
  explicit Selection(const gen::ReasonPool& pool) {
    for (const auto& [split, trees] : pool) choices_[split].resize(trees.size());
  }

  void Add(const Choosing& of, const Scores& scores) {
    Columns& columns = columns_[of.split];
    columns.user.insert(columns.user.end(), of.nodes.size(), of.user);
    columns.node.insert(columns.node.end(), of.nodes.begin(), of.nodes.end());
    columns.score.insert(columns.score.end(), scores.begin(), scores.end());
    const int64_t best = First(scores);
    if (best < 0) return;
    const int64_t node = of.nodes[static_cast<size_t>(best)];
    choices_[of.split][static_cast<size_t>(of.user)] = {
        node, scores[static_cast<size_t>(best)], of.tree->nodes[static_cast<size_t>(node)].text};
    ++chosen_;
  }

  void Save(const std::filesystem::path& folder) const {
    gen::SaveChosen(choices_, folder / "selection.h5");
    store::Hdf5Writer file(folder / "scores.h5");
    for (const auto& [split, columns] : columns_) {
      file.WriteInts(split + "/user", columns.user);
      file.WriteInts(split + "/node", columns.node);
      file.WriteFloats(split + "/score", columns.score);
    }
    file.Close();
  }
  int64_t chosen() const { return chosen_; }

 private:
  struct Columns {
    std::vector<int64_t> user, node;
    std::vector<float> score;
  };
  gen::ChosenReasons choices_;
  std::map<std::string, Columns> columns_;
  int64_t chosen_ = 0;
};

// Choices that need no encoder: by likelihood, the base reason, or at random. The base reason is
// not a leaf, so "base" has it as its only candidate.
Scores PlainScores(const std::string& by, Choosing& of, uint64_t seed) {
  const auto node = [&](int64_t i) -> const gen::ReasonNode& {
    return of.tree->nodes[static_cast<size_t>(i)];
  };
  if (by == "base") {
    of.nodes.clear();
    for (int64_t i = 0; i < std::ssize(of.tree->nodes); ++i)
      if (node(i).path == "base") of.nodes.push_back(i);
    return Scores(of.nodes.size(), 0);
  }
  Scores scores;
  for (const int64_t i : of.nodes) scores.push_back(node(i).log_likelihood);
  if (by == "random") {
    const auto split = std::ranges::find(kSplits, of.split) - kSplits;
    Rng rng(seed, "random reason", static_cast<uint64_t>(split), static_cast<uint64_t>(of.user));
    std::ranges::fill(scores, std::nanf(""));
    scores[rng.Below(scores.size())] = 0;
  }
  return scores;
}

// The behaviour settings for `by`: with "oracle" the behaviour text always names the target, with
// "blind" never.
BehaviourConfig BehaviourOf(const config::RunConfig& config, const std::string& by) {
  BehaviourConfig behaviour = config.pulse().behaviour();
  if (by == "oracle") behaviour.set_anchor(BehaviourConfig::WITH_TARGET);
  if (by == "blind") behaviour.set_anchor(BehaviourConfig::HISTORY);
  return behaviour;
}

bool Encodes(const std::string& by) {
  return by != "log_likelihood" && by != "base" && by != "random";
}
bool InThoughtSpace(const std::string& by) {
  return by == "thought" || by == "oracle" || by == "blind";
}
// The untrained encoder of ablation A1; empty: the random initial weights of the thought encoders.
std::string UntrainedFolder(const config::PulseConfig& pulse) {
  return pulse.tree().has_distilbert() ? pulse.tree().distilbert() : pulse.thought().encoder();
}

std::unique_ptr<gen::ReasonScorer> LoadReasonScorer(const RunContext& context,
                                                    const std::string& by) {
  const auto& pulse = context.config.pulse();
  const std::string device = context.config.execution().device();
  const auto thoughts = context.workspace.Of("thoughts");
  if (InThoughtSpace(by)) return lm::LoadThoughtSpace(thoughts, device);
  lm::EncoderOptions options{.max_tokens = pulse.behaviour().max_tokens(), .device = device};
  if (by == "sbert") {
    options.max_tokens = std::min(options.max_tokens, kSentenceTokens);
    options.pooling = lm::Pooling::kMean;
    return lm::MakeReasonScorer(lm::LoadEncoder(pulse.tree().sbert(), options), nullptr);
  }
  options.pooling = lm::Pooling::kCls;
  std::filesystem::path folder = UntrainedFolder(pulse);
  if (folder.empty()) folder = thoughts / "start";
  return lm::MakeReasonScorer(lm::LoadEncoder(folder, options), nullptr);
}

// Serialised scores of some users, concatenated.
std::string ScoreUnit(gen::ReasonScorer& scorer, const Examples& examples,
                      std::span<const Choosing> users, const BehaviourConfig& behaviour) {
  std::vector<std::string> anchors;
  std::vector<std::vector<std::string>> reasons;
  for (const Choosing& of : users) {
    anchors.push_back(examples.AnchorOf(of.split, of.user, behaviour));
    auto& texts = reasons.emplace_back();
    for (const int64_t node : of.nodes)
      texts.push_back(of.tree->nodes[static_cast<size_t>(node)].text);
  }
  std::string bytes;
  for (const Scores& scores : scorer.Score(anchors, reasons))
    bytes.append(reinterpret_cast<const char*>(scores.data()), scores.size() * sizeof(float));
  return bytes;
}

gen::ReasonPool LoadTrees(const RunContext& context, int64_t users) {
  const auto h5 = context.workspace.Of("rationales.tree") / "reasons.h5";
  gen::ReasonPool pool = gen::LoadPool(h5);
  for (const auto& [split, trees] : pool)
    if (std::ssize(trees) != users)
      Fail(Exit::kData, h5.string(), ": holds trees of ", trees.size(), " users in ", split,
           "; the split has ", users);
  return pool;
}

// Choices by encoders: leased in units of users.
bool SelectByTexts(const RunContext& context, const std::filesystem::path& partial,
                   const std::string& by, const Examples& examples,
                   const std::vector<Choosing>& choosing, Selection& selection) {
  const BehaviourConfig behaviour = BehaviourOf(context.config, by);
  std::unique_ptr<gen::ReasonScorer> scorer;  // loaded by those who get work
  size_t next = 0;
  return DoUnits(
      context, partial, {"  trees", "trees", std::ssize(choosing), kUnitTrees},
      [&](int64_t begin, int64_t end) {
        if (!scorer) scorer = LoadReasonScorer(context, by);
        return ScoreUnit(*scorer, examples, {choosing.begin() + begin, choosing.begin() + end},
                         behaviour);
      },
      [&](const std::string& bytes) {
        for (size_t at = 0; at < bytes.size(); ++next) {
          Scores scores(choosing[next].nodes.size());
          std::memcpy(scores.data(), bytes.data() + at, scores.size() * sizeof(float));
          at += scores.size() * sizeof(float);
          selection.Add(choosing[next], scores);
        }
      });
}

Facts WriteSelected(const RunContext& context, const std::filesystem::path& partial,
                    const std::string& by) {
  const auto folder = context.workspace.Of("split");
  const auto train = data::LoadTrainView(folder);
  const auto labels = data::LoadLabels(folder);
  const gen::ReasonPool pool = LoadTrees(context, train.user_count());
  std::vector<Choosing> choosing = AllChoosing(pool, context.config.pulse().tree());
  const Examples examples(train, labels);
  Selection selection(pool);
  bool merged = true;
  if (Encodes(by)) {
    merged = SelectByTexts(context, partial, by, examples, choosing, selection);
  } else {
    for (Choosing& of : choosing) {
      const Scores scores = PlainScores(by, of, context.config.seed());
      selection.Add(of, scores);
    }
  }
  if (merged) selection.Save(partial);
  return {{"reasons chosen", Cat(selection.chosen(), " of ", choosing.size())}};
}

}  // namespace

Stage SelectStage(const config::RunConfig& config, const std::string& by) {
  if (std::ranges::find(kSelections, by) == std::end(kSelections))
    Fail(Exit::kUsage, "reasons are not selected by \"", by, "\"");
  const auto& pulse = config.pulse();
  Stage stage{.name = "select." + by,
              .config_parts = {"pulse.tree.algorithm", "pulse.tree.score_nodes"},
              .inputs = {"split", "rationales.tree"},
              .kind = Encodes(by) ? Kind::kLeased : Kind::kSolo,
              .run = [by](const RunContext& context, const std::filesystem::path& partial) {
                return WriteSelected(context, partial, by);
              }};
  if (by == "random") stage.config_parts.push_back("seed");
  if (Encodes(by)) stage.config_parts.push_back("pulse.behaviour");
  if (by == "sbert") stage.files = {{"encoder", pulse.tree().sbert()}};
  const std::string untrained = by == "distilbert" ? UntrainedFolder(pulse) : "";
  if (!untrained.empty()) stage.files = {{"encoder", untrained}};
  if (InThoughtSpace(by) || (by == "distilbert" && untrained.empty()))
    stage.inputs.push_back("thoughts");
  return stage;
}

}  // namespace whyrec::stages
