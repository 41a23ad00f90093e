// rationales.tree: PULSE's base reason and tree of thoughts, for every user and split (train,
// validation, test) -> reasons.h5; the raw answers -> records.jsonl.gz. A worker that dies loses at
// most one level of its units' trees.
#include "src/base/error.h"
#include "src/gen/reason_engine.h"
#include "src/gen/reason_pool.h"
#include "src/lm/thought_space.h"
#include "src/stages/backend.h"
#include "src/stages/examples.h"
#include "src/stages/units.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

using config::TreeConfig;

bool Prunes(const config::RunConfig& config) {
  return config.pulse().tree().algorithm() == TreeConfig::BEAM_CHAIN;
}

std::vector<std::string> SplitsOf(const config::RunConfig& config) {
  if (config.pulse().tree().splits() == TreeConfig::TRAIN_ONLY) return {kSplits[0]};
  return {std::begin(kSplits), std::end(kSplits)};
}

// Everything the prompts need and, when chains are pruned, the scorer: one row per split and user.
class Grower {
 public:
  explicit Grower(const RunContext& context)
      : config_(context.config),
        splits_(SplitsOf(context.config)),
        train_(data::LoadTrainView(context.workspace.Of("split"))),
        labels_(data::LoadLabels(context.workspace.Of("split"))),
        users_(train_, labels_),
        generator_(MakeBackend(context, context.config, Prompts::kPulse)) {
    if (Prunes(config_))
      scorer_ =
          lm::LoadThoughtSpace(context.workspace.Of("thoughts"), config_.execution().device());
    engine_.emplace(*generator_, config_, scorer_.get());
    if (config_.pulse().neighbours().count() == 0) return;
    const store::Hdf5Reader file(context.workspace.Of("neighbours") / "neighbours.h5");
    for (const std::string& split : splits_)
      neighbours_.push_back(file.Read(split + "/neighbours"));
  }

  const std::vector<std::string>& splits() const { return splits_; }
  const Examples& examples() const { return users_; }
  int64_t users() const { return train_.user_count(); }
  int64_t rows() const { return users() * std::ssize(splits_); }

  // Trees of the rows begin..end; those of users without an example are empty.
  std::string Grow(int64_t begin, int64_t end, UnitProgress& progress) {
    std::vector<gen::Evidence> evidence;
    std::vector<std::string> behaviours;
    std::vector<int64_t> place;
    for (int64_t row = begin; row < end; ++row) {
      gen::Evidence of = EvidenceOf(row);
      if (of.history.empty()) continue;
      if (scorer_)
        behaviours.push_back(users_.AnchorOf(of.split, of.user, config_.pulse().behaviour()));
      evidence.push_back(std::move(of));
      place.push_back(row - begin);
    }
    std::vector<gen::ReasonTree> begun;
    if (!progress.begun().empty()) begun = gen::UnpackTrees(progress.begun());
    auto grown = engine_->Grow(evidence, behaviours, std::move(begun),
                               [&](const auto& trees) { progress.Save(gen::Pack(trees)); });
    std::vector<gen::ReasonTree> trees(static_cast<size_t>(end - begin));
    for (size_t i = 0; i < grown.size(); ++i) trees[place[i]] = std::move(grown[i]);
    return gen::Pack(trees);
  }

 private:
  gen::Evidence EvidenceOf(int64_t row) const {
    const int64_t split = row / users(), user = row % users();
    std::span<const int32_t> neighbours;
    if (!neighbours_.empty()) neighbours = neighbours_[split].row<int32_t>(user);
    return users_.EvidenceOf(splits_[split], user, neighbours, config_.pulse().neighbours());
  }

  const config::RunConfig& config_;
  const std::vector<std::string> splits_;
  const data::TrainView train_;
  const data::LabelStore labels_;
  const Examples users_;
  const std::unique_ptr<gen::Generator> generator_;
  std::unique_ptr<gen::ReasonScorer> scorer_;
  std::optional<gen::ReasonEngine> engine_;
  std::vector<HostTensor> neighbours_;  // by split; none: k is 0
};

Facts WriteReasons(const RunContext& context, const std::filesystem::path& partial) {
  Grower grower(context);
  std::vector<gen::ReasonTree> all;
  gen::RecordWriter records(partial / "records.jsonl.gz");
  const bool merged = DoUnits(
      context, partial,
      {"  trees", "users", grower.rows(), context.config.rationales().unit_size()},
      [&](int64_t begin, int64_t end, UnitProgress& progress) {
        return grower.Grow(begin, end, progress);
      },
      [&](const std::string& unit) {
        for (gen::ReasonTree& tree : gen::UnpackTrees(unit)) {
          records.Take(tree);
          all.push_back(std::move(tree));
        }
      });
  if (!merged) return {};
  records.Close();
  gen::ReasonPool pool;
  gen::ReasonCounts counts;
  for (int64_t row = 0; row < std::ssize(all); ++row) {
    const std::string& split = grower.splits()[row / grower.users()];
    gen::ReasonTree& tree = all[static_cast<size_t>(row)];
    // Without targets: this stage must not see held-out ones.
    for (const gen::ReasonNode& node : tree.nodes)
      if (split == "train")
        counts.Add(node, grower.examples().TrainTarget(row % grower.users()));
      else
        counts.Add(node);
    pool[split].push_back(std::move(tree));
  }
  gen::SavePool(pool, partial / "reasons.h5");
  return FactsOf(counts, context.config);
}

}  // namespace

Stage ReasonsStage(const config::RunConfig& config) {
  Stage stage{.name = "rationales.tree",
              .revision = 2,  // answers as records
              .config_parts = {"pulse.neighbours", "pulse.positive.prompt_tokens",
                               "pulse.positive.review_tokens", "pulse.tree", "seed"},
              .inputs = {"split"},
              .kind = Kind::kLeased,
              .run = WriteReasons};
  if (config.pulse().neighbours().count() > 0) stage.inputs.push_back("neighbours");
  if (Prunes(config)) {
    stage.inputs.push_back("thoughts");
    stage.config_parts.push_back("pulse.behaviour");
  }
  for (const char* part : {"backend", "attempts", "deterministic", "http"})
    stage.config_parts.push_back(Cat("rationales.", part));
  BackendNeedsOf(config, Prompts::kPulse).AddTo(stage);
  return stage;
}

}  // namespace whyrec::stages
