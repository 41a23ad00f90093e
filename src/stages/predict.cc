// predict: ranks the test item of every evaluated user among all items, among the split's
// candidates and among further candidate sets. The system sees queries without targets; its scores
// become ranks and lists here.
#include <algorithm>
#include <functional>

#include "src/base/ragged.h"
#include "src/base/rng.h"
#include "src/stages/predictions.h"
#include "src/stages/system_run.h"
#include "src/stages/units.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

using ranking::Query;
using ranking::Task;

constexpr int64_t kListLength = 10;

// All evaluated users, or a random sample of the configured size; ascending.
std::vector<int64_t> EvaluatedUsers(const config::RunConfig& config,
                                    const data::LabelStore& labels) {
  std::vector<int64_t> users = labels.EvaluatedUsers(data::Phase::kTest);
  const int64_t wanted = config.predict().users();
  if (wanted <= 0 || wanted >= std::ssize(users)) return users;
  std::vector<int64_t> chosen =
      Rng(config.seed(), "evaluated users").Permutation(std::ssize(users));
  chosen.resize(static_cast<size_t>(wanted));
  for (int64_t& user : chosen) user = users[user];
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

// The candidates of a user; none where all items are ranked.
using CandidatesOf = std::function<std::span<const int64_t>(int64_t user)>;

// Predictions for one batch of users in one task.
class Asker {
 public:
  Asker(ranking::Recommender& system, const data::TrainView& train, const data::LabelStore& labels,
        const ranking::RankOptions& options)
      : system_(system), train_(train), labels_(labels), options_(options) {}

  TaskPredictions Ask(const std::string& name, Task task, const CandidatesOf& candidates,
                      std::span<const int64_t> users) const {
    std::vector<Query> queries;
    std::vector<int64_t> targets;
    for (int64_t user : users) {
      Query query{user, labels_.InputHistory(data::Phase::kTest, train_, user), {}};
      if (candidates) query.candidates = candidates(user);
      queries.push_back(std::move(query));
      targets.push_back(labels_.Target(data::Phase::kTest, user));
    }
    TaskPredictions out{.task = name, .scored = false, .lists = {}, .ranks = {}};
    if (!candidates) {
      for (const auto& [rank, list] : system_.Rank(task, queries, targets, options_)) {
        out.scored = rank.has_value();
        if (rank) out.ranks.push_back(*rank);
        out.lists.Append(list);
      }
      return out;
    }
    const auto answers = system_.Predict(task, queries);
    for (size_t i = 0; i < queries.size(); ++i) {
      out.scored = !answers[i].scores.empty();
      if (out.scored)
        Place(queries[i], targets[i], answers[i].scores, out);
      else
        out.lists.Append(answers[i].list);
    }
    return out;
  }

 private:
  // Among the candidates.
  void Place(const Query& query, int64_t target, const std::vector<double>& scores,
             TaskPredictions& out) const {
    const auto place = std::ranges::find(query.candidates, target) - query.candidates.begin();
    out.ranks.push_back(eval::RankOf(scores, place));
    std::vector<int64_t> list = ranking::Best(scores, {}, options_.list);
    for (int64_t& item : list) item = query.candidates[static_cast<size_t>(item)];
    out.lists.Append(list);
  }

  ranking::Recommender& system_;
  const data::TrainView& train_;
  const data::LabelStore& labels_;
  ranking::RankOptions options_;
};

bool AsksDirectly(const systems::System& system) {
  return std::ranges::find(system.tasks, Task::kDirect) != system.tasks.end();
}

// The further candidate sets by task name; one row per user.
std::vector<std::pair<std::string, Ragged<int64_t>>> LoadAlso(const RunContext& context,
                                                              const systems::System& system) {
  std::vector<std::pair<std::string, Ragged<int64_t>>> out;
  if (!AsksDirectly(system)) return out;
  for (const std::string& how : AlsoCandidates(context.config)) {
    const store::Hdf5Reader file(context.workspace.Of("candidates." + how) / "candidates.h5");
    out.emplace_back("direct_" + how, file.ReadRagged("candidates"));
  }
  return out;
}

Facts WritePredictions(const RunContext& context, const std::filesystem::path& partial,
                       const SystemRun& run) {
  const auto split = context.workspace.Of("split");
  const auto train = data::LoadTrainView(split);
  const auto labels = data::LoadLabels(split);
  const auto system = run.Build(context, train, run.variant);
  system->Load(context.workspace.Of(run.Train()));
  const config::Knobs knobs = systems::KnobValues(run.system, run.chosen);
  const Asker asker(*system, train, labels,
                    {.mask_history = !knobs.Has("mask_history") || knobs.On("mask_history"),
                     .list = kListLength});
  const std::vector<int64_t> users = EvaluatedUsers(context.config, labels);
  const CandidatesOf candidates = [&](int64_t user) {
    return labels.Candidates(data::Phase::kTest, user);
  };
  const auto also = LoadAlso(context, run.system);
  // Systems that only rank candidates skip the task over the whole catalogue.
  const bool full =
      context.config.predict().direct_full() &&
      std::ranges::find(run.system.tasks, Task::kSequential) != run.system.tasks.end();
  Predictions all;
  const bool merged = DoUnits(
      context, partial,
      {"  users", "users", std::ssize(users), context.config.predict().batch_users()},
      [&](int64_t begin, int64_t end) {
        const auto part = std::span(users).subspan(begin, end - begin);
        Predictions predictions{.users = {part.begin(), part.end()}, .tasks = {}};
        for (const Task task : run.system.tasks)
          predictions.tasks.push_back(
              asker.Ask(NameOf(task), task, task == Task::kDirect ? candidates : nullptr, part));
        if (full && predictions.tasks.back().scored)
          predictions.tasks.push_back(asker.Ask("direct_full", Task::kDirect, nullptr, part));
        for (const auto& [name, rows] : also)
          predictions.tasks.push_back(asker.Ask(
              name, Task::kDirect, [&](int64_t user) { return rows.row(user); }, part));
        return Pack(predictions);
      },
      [&](const std::string& unit) { all.Append(Unpack(unit)); });
  if (merged) Save(all, partial / "predictions.h5");
  return {{"users", Cat(users.size())}};
}

}  // namespace

Stage PredictStage(const config::RunConfig& config, int i) {
  const SystemRun run(config, i);
  Stage stage{.name = run.Predict(),
              .revision = 2,
              .config_parts = run.system.config_parts,
              .settings = run.Settings(run.variant),
              .inputs = {run.Train(), "split"},
              .files = run.system.files(config),
              .kind = Kind::kLeased};
  for (const char* part : {"predict", "seed"})
    if (std::find(stage.config_parts.begin(), stage.config_parts.end(), part) ==
        stage.config_parts.end())
      stage.config_parts.push_back(part);
  for (const std::string& need : run.Needs(run.variant)) stage.inputs.push_back(need);
  if (AsksDirectly(run.system))
    for (const std::string& how : AlsoCandidates(config))
      stage.inputs.push_back("candidates." + how);
  stage.run = [i](const RunContext& context, const std::filesystem::path& partial) {
    return WritePredictions(context, partial, SystemRun(context.config, i));
  };
  return stage;
}

}  // namespace whyrec::stages
