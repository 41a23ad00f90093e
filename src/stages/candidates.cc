// candidates.<how>: a further candidate set for the test items of all users. Against uniform
// negatives it is often enough to know which title sounds popular; popular or SASRec-ranked
// negatives are harder. -> candidates.h5: "candidates" I64, one row per user: the target and
// split.direct_negatives others, shuffled; an empty row for users who are never evaluated. All
// systems are evaluated on the same file.
#include "src/data/candidates.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "src/base/error.h"
#include "src/base/ragged.h"
#include "src/stages/system_run.h"
#include "src/stages/units.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

using config::SplitConfig;

constexpr int64_t kUnitUsers = 64;

std::string NameOf(SplitConfig::Candidates how) {
  std::string name = SplitConfig::Candidates_Name(how);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

SplitConfig::Candidates Parse(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
  SplitConfig::Candidates how;
  WR_CHECK(SplitConfig::Candidates_Parse(name, &how), name);
  return how;
}

// Shared by all ways to draw. Like the split, it sees whole histories, since candidates avoid them.
class Drawer {
 public:
  Drawer(const RunContext& context, SplitConfig::Candidates how)
      : config_(With(context.config.split(), how)),
        purpose_("negatives.test." + NameOf(how)),
        catalogue_(data::ApplyShortUsers(
            data::LoadCatalogue(context.workspace.Of("catalogue") / "catalogue.h5"),
            config_.short_users())),
        train_(data::LoadTrainView(context.workspace.Of("split"))),
        labels_(data::LoadLabels(context.workspace.Of("split"))),
        draw_(catalogue_, train_.histories, config_) {}

  std::vector<int64_t> Draw(int64_t user) const {
    const auto row = catalogue_.histories.row(user);
    Rng rng = RngOf(user);
    return draw_.Draw(Target(user), row, row.first(row.size() - 1), rng);
  }
  std::vector<int64_t> DrawHard(int64_t user, std::span<const double> scores, int64_t pool) const {
    Rng rng = RngOf(user);
    return draw_.DrawHard(Target(user), catalogue_.histories.row(user), scores, pool, rng);
  }

  const data::TrainView& train() const { return train_; }
  const data::LabelStore& labels() const { return labels_; }
  std::vector<int64_t> users() const { return labels_.EvaluatedUsers(data::Phase::kTest); }

 private:
  static SplitConfig With(SplitConfig config, SplitConfig::Candidates how) {
    config.set_candidates(how);
    return config;
  }
  Rng RngOf(int64_t user) const {
    return Rng(config_.negative_seed(), purpose_, 0, static_cast<uint64_t>(user));
  }
  int64_t Target(int64_t user) const { return labels_.Target(data::Phase::kTest, user); }

  const SplitConfig config_;
  const std::string purpose_;
  const data::Catalogue catalogue_;
  const data::TrainView train_;
  const data::LabelStore labels_;
  const data::CandidateDraw draw_;
};

using Rows = std::vector<std::vector<int64_t>>;  // of the evaluated users, ascending

SystemRun Asked(const config::RunConfig& config) {
  return {config, NeedPlayer(systems::Role::kHardCandidates, config, "hard candidates")};
}

// Draws from the items that this system, as trained, ranks first after the test histories. Leased
// in units of users; returns false on ranks that do not merge.
bool DrawHard(const RunContext& context, const std::filesystem::path& partial, const Drawer& drawer,
              Rows& rows) {
  const SystemRun run = Asked(context.config);
  const auto asked = run.Build(context, drawer.train(), run.trained_as);
  asked->Load(context.workspace.Of(run.Train()));
  const auto width = static_cast<size_t>(context.config.split().direct_negatives()) + 1;
  const std::vector<int64_t> users = drawer.users();
  return DoUnits(
      context, partial, {"  candidates", "users", std::ssize(users), kUnitUsers},
      [&](int64_t begin, int64_t end) {
        std::vector<ranking::Query> queries;
        for (int64_t i = begin; i < end; ++i)
          queries.push_back(
              {users[i],
               drawer.labels().InputHistory(data::Phase::kTest, drawer.train(), users[i]),
               {}});
        const auto answers = asked->Predict(ranking::Task::kSequential, queries);
        std::string bytes;
        for (size_t i = 0; i < queries.size(); ++i) {
          const auto row = drawer.DrawHard(queries[i].user, answers[i].scores,
                                           context.config.predict().hard_pool());
          bytes.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(int64_t));
        }
        return bytes;
      },
      [&](const std::string& bytes) {
        const size_t row_bytes = width * sizeof(int64_t);
        for (size_t at = 0; at < bytes.size(); at += row_bytes)
          std::memcpy(rows.emplace_back(width).data(), bytes.data() + at, row_bytes);
      });
}

Facts WriteCandidates(const RunContext& context, const std::filesystem::path& partial,
                      SplitConfig::Candidates how) {
  const Drawer drawer(context, how);
  const std::vector<int64_t> users = drawer.users();
  Rows rows;
  if (how == SplitConfig::SASREC_HARD) {
    if (!DrawHard(context, partial, drawer, rows)) return {};
  } else {
    for (const int64_t user : users) rows.push_back(drawer.Draw(user));
  }
  Ragged<int64_t> all;
  for (int64_t user = 0, next = 0; user < drawer.train().user_count(); ++user) {
    const bool drawn = next < std::ssize(users) && users[next] == user;
    all.Append(drawn ? rows[next++] : std::vector<int64_t>());
  }
  store::Hdf5Writer file(partial / "candidates.h5");
  file.WriteInts("candidates", all);
  file.Close();
  return {{"users", Cat(users.size())},
          {"users with two candidates of one title",
           Cat(data::SharedTitles(drawer.train().items, all))}};
}

void CheckPool(const config::RunConfig& config) {
  if (config.predict().hard_pool() < config.split().direct_negatives())
    Fail(Exit::kUsage, "predict.hard_pool is ", config.predict().hard_pool(),
         ", fewer than split.direct_negatives, ", config.split().direct_negatives());
}

}  // namespace

std::vector<std::string> AlsoCandidates(const config::RunConfig& config) {
  std::vector<std::string> names;
  for (const int value : config.predict().also_candidates()) {
    const auto how = static_cast<SplitConfig::Candidates>(value);
    const std::string name = NameOf(how);
    if (how == config.split().candidates() || std::ranges::count(names, name) > 0)
      Fail(Exit::kUsage, "predict.also_candidates names ", SplitConfig::Candidates_Name(how),
           how == config.split().candidates() ? ", which split.candidates is already" : " twice");
    names.push_back(name);
  }
  return names;
}

Stage CandidatesStage(const config::RunConfig& config, const std::string& how) {
  const SplitConfig::Candidates parsed = Parse(how);
  Stage stage{.name = "candidates." + how,
              .config_parts = {"split"},
              .inputs = {"catalogue", "split"},
              .run = [parsed](const RunContext& context, const std::filesystem::path& partial) {
                return WriteCandidates(context, partial, parsed);
              }};
  if (parsed != SplitConfig::SASREC_HARD) return stage;
  CheckPool(config);
  const SystemRun run = Asked(config);
  stage.config_parts.push_back("predict.hard_pool");
  stage.settings = run.Settings(run.trained_as);
  stage.inputs.push_back(run.Train());
  stage.kind = Kind::kLeased;
  return stage;
}

}  // namespace whyrec::stages
