// rationales.positive: why a user bought their last training item (PULSE's positive rationale r+,
// prompt P1) -> one node per user in reasons.h5; the raw answers -> records.jsonl.gz.
#include "src/base/error.h"
#include "src/gen/reason_engine.h"
#include "src/gen/reason_pool.h"
#include "src/stages/backend.h"
#include "src/stages/examples.h"
#include "src/stages/units.h"

namespace whyrec::stages {
namespace {

Facts WritePositive(const RunContext& context, const std::filesystem::path& partial) {
  const auto train = data::LoadTrainView(context.workspace.Of("split"));
  const auto labels = data::LoadLabels(context.workspace.Of("split"));
  const Examples users(train, labels);
  const auto generator = MakeBackend(context, context.config, Prompts::kPulse);
  gen::ReasonEngine engine(*generator, context.config);
  std::vector<gen::ReasonTree> all;
  gen::RecordWriter records(partial / "records.jsonl.gz");
  const bool merged = DoUnits(
      context, partial,
      {"  rationales", "users", train.user_count(), context.config.rationales().unit_size()},
      [&](int64_t begin, int64_t end) {
        std::vector<std::pair<gen::Evidence, gen::Target>> asked;
        std::vector<gen::ReasonTree> trees(static_cast<size_t>(end - begin));
        for (int64_t user = begin; user < end; ++user)
          if (users.Has("train", user))
            asked.push_back(
                {{.split = "train", .user = user, .history = users.History("train", user)},
                 users.TrainTarget(user)});
        std::vector<gen::ReasonNode> nodes = engine.Positive(asked);
        for (size_t i = 0; i < nodes.size(); ++i)
          trees[asked[i].first.user - begin] = {.nodes = {std::move(nodes[i])}, .levels = 1};
        return gen::Pack(trees);
      },
      [&](const std::string& unit) {
        for (gen::ReasonTree& tree : gen::UnpackTrees(unit)) {
          records.Take(tree);
          all.push_back(std::move(tree));
        }
      });
  if (!merged) return {};
  gen::ReasonCounts counts;
  for (int64_t user = 0; user < std::ssize(all); ++user)
    for (const gen::ReasonNode& node : all[static_cast<size_t>(user)].nodes)
      counts.Add(node, users.TrainTarget(user));
  records.Close();
  gen::SavePool({{"train", std::move(all)}}, partial / "reasons.h5");
  return FactsOf(counts, context.config);
}

}  // namespace

Stage PositiveStage(const config::RunConfig& config) {
  Stage stage{.name = "rationales.positive",
              .revision = 2,  // answers as records
              .config_parts = {"pulse.positive", "seed"},
              .inputs = {"split"},
              .kind = Kind::kLeased,
              .run = WritePositive};
  for (const char* part : {"backend", "attempts", "deterministic", "http"})
    stage.config_parts.push_back(Cat("rationales.", part));
  BackendNeedsOf(config, Prompts::kPulse).AddTo(stage);
  return stage;
}

}  // namespace whyrec::stages
