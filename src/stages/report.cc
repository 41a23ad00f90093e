// report: metrics of all systems of the run, the audit and the rules -> report.md, report.json.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "src/base/durable_file.h"
#include "src/base/text_file.h"
#include "src/config/run_config.h"
#include "src/eval/published.h"
#include "src/eval/table.h"
#include "src/stages/predictions.h"
#include "src/stages/report_rows.h"
#include "src/stages/stage.h"
#include "src/stages/system_run.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

json Read(const RunContext& context, const std::string& artefact, const std::string& file) {
  return ReadJson(context.workspace.Of(artefact) / file);
}

std::string NameOf(const SystemRun& run) { return SystemName(run.system.name, run.VariantName()); }

// One table per task; a cell is the mean with its 95 % interval.
std::string Tables(const json& rows, const std::vector<std::string>& names, const json& chance) {
  std::map<std::string, std::vector<json>> tasks;
  for (const json& row : rows) tasks[row.at("task")].push_back(row);
  std::string text;
  for (const std::string& task : names) {
    std::vector<std::string> head = {"system"};
    std::vector<std::vector<std::string>> lines;
    for (const json& row : tasks[task]) {
      const std::string name = SystemName(row), metric = row.at("metric");
      if (AmongCandidates(task) && chance.at(metric) == 1) continue;  // everybody hits
      if (lines.empty() || lines.back()[0] != name) lines.push_back({name});
      if (lines.size() == 1) head.push_back(metric);
      lines.back().push_back(Cell(row));
    }
    eval::Table table(head);
    for (auto& line : lines) table.Add(std::move(line));
    if (AmongCandidates(task)) {
      std::vector<std::string> line = {"chance"};
      for (size_t m = 1; m < head.size(); ++m) line.push_back(eval::Fixed(chance.at(head[m])));
      table.Add(std::move(line));
    }
    const json& first = tasks[task][0];
    text += Cat("\n### ", task, ": ", first.at("candidates"), " candidates, ", first.at("users"),
                " users\n\n", table.Markdown());
  }
  return text;
}

// The first system minus each other one, paired over users, with intervals. Uses HR@10, or HR@1
// when there are so few candidates that everybody hits at 10.
std::string Differences(const RunContext& context, const std::vector<std::string>& tasks) {
  const bool few = context.config.split().direct_negatives() < 10;
  const auto column = [&](int system, const std::string& name) {
    const store::Hdf5Reader file(context.workspace.Of(SystemRun(context.config, system).Metrics()) /
                                 "per_user.h5");
    return file.Has(name) ? file.ReadFloats(name) : std::vector<float>();
  };
  std::string text;
  for (const std::string& task : tasks) {
    if (task == "direct_full") continue;
    const std::string metric = AmongCandidates(task) && few ? "HR@1" : "HR@10";
    const auto first = column(0, task + "/" + metric);
    for (int i = 1; i < context.config.system_size(); ++i) {
      const auto other = column(i, task + "/" + metric);
      if (first.empty() || other.empty()) continue;
      std::vector<double> difference(first.size());
      for (size_t u = 0; u < first.size(); ++u) difference[u] = first[u] - other[u];
      const auto interval = eval::Bootstrap({difference}, context.config.metrics().bootstrap(),
                                            context.config.seed())[0];
      const bool luck = interval.low <= 0 && interval.high >= 0;
      text += Cat("- ", task, " ", metric, ", ", NameOf(SystemRun(context.config, 0)), " minus ",
                  NameOf(SystemRun(context.config, i)), ": ", eval::Fixed(interval.mean), " [",
                  eval::Fixed(interval.low), ", ", eval::Fixed(interval.high), "]",
                  luck ? ", not significant" : "", "\n");
    }
  }
  return text;
}

// This run's results on the direct task beside those that the papers print for the data set.
std::string PublishedTable(const json& rows) {
  eval::Table table({"system", "metric", "published", "this run", "source"});
  bool any = false;
  for (const auto& printed : eval::PublishedOf(rows.at(0).at("dataset")))
    for (const json& row : rows)
      if (row.at("task") == "direct" && row.at("system") == printed.system &&
          row.at("variant") == printed.variant && row.at("metric") == printed.metric) {
        table.Add({SystemName(row), printed.metric, eval::Fixed(printed.value),
                   eval::Fixed(row.at("value")), printed.source});
        any = true;
      }
  return any ? "\n## Published results\n\n" + table.Markdown() +
                   "\nThe papers' protocols leak and their candidate sets differ: compare only "
                   "rows of the same protocol.\n"
             : "";
}

std::string AuditLines(const json& audit) {
  std::string text;
  for (const json& value : audit)
    if (value.at("metric") == "HR@10")
      text += "- " + value.at("check").get<std::string>() + ": HR@10 " +
              eval::Fixed(value.at("value")) + "\n";
  return text;
}

// How the data differ from the paper's table; nothing when the audit does not compare them.
std::optional<bool> DataMismatch(const RunContext& context) {
  if (const auto audit = context.workspace.Find("audit"))
    for (const auto& fact : audit->fact())
      if (fact.name() == "data_mismatch") return fact.value() != "false";
  return std::nullopt;
}

// Facts of the run's stages that the tables depend on, without repetitions.
std::string Notes(const RunContext& context, const std::vector<std::string>& stages) {
  constexpr std::pair<std::string_view, std::string_view> kTold[] = {
      {"catalogue", "data_mismatch"}, {"split", "data_mismatch"}, {"audit", "data_mismatch"},
      {"rationales.", "texts"},       {"rationales.", "reasons"}, {"rationales.", "parse_rate"},
      {"select.", "reasons chosen"},  {"train.", "scorer base"},  {"train.", "explanation task"}};
  std::string text;
  std::set<std::string> said;
  for (const std::string& stage : stages) {
    const artefact::Manifest manifest = *context.workspace.Find(stage);
    for (const auto& fact : manifest.fact()) {
      const bool told = std::ranges::any_of(kTold, [&](const auto& one) {
        return stage.starts_with(one.first) && fact.name() == one.second;
      });
      if (told && said.insert(fact.name() + fact.value()).second)
        text += "- " + stage + ", " + fact.name() + ": " + fact.value() + "\n";
    }
  }
  return text;
}

Facts WriteReport(const RunContext& context, const std::filesystem::path& partial,
                  const std::vector<std::string>& stages,
                  const std::vector<std::string>& protocol_keys) {
  json rows = json::array();
  for (int i = 0; i < context.config.system_size(); ++i)
    for (json& row : Read(context, SystemRun(context.config, i).Metrics(), "metrics.json"))
      rows.push_back(row);
  if (const auto mismatch = DataMismatch(context))
    for (json& row : rows) row["data_mismatch"] = *mismatch;
  const auto tasks = TasksOf(rows, context.config);
  const std::string protocol = config::RunConfig::Protocol_Name(context.config.protocol());
  std::string text =
      "# " + context.config.name() + ": " + rows.at(0).at("dataset").get<std::string>() +
      ", protocol " + protocol + "\n" +
      Tables(rows, tasks, Read(context, SystemRun(context.config, 0).Metrics(), "chance.json"));
  text +=
      "\nCells are means over users with 95 % bootstrap intervals. The sequential task ranks all "
      "items outside the history, the direct task the candidates of each user.\n" +
      (context.config.predict().also_candidates_size() > 0
           ? "Each direct table has its own candidate sets: do not compare rows of different "
             "tables.\n"
           : std::string()) +
      Notes(context, stages);
  text += PublishedTable(rows);
  if (context.config.system_size() > 1)
    text += "\n## Paired differences over users\n\n" + Differences(context, tasks);
  text +=
      "\n## Audit: rules that see item and user numbers only, and the effect of the order of "
      "ties\n\n" +
      AuditLines(Read(context, "audit", "audit.json"));
  text += "\n## Values that the protocol decides\n\n";
  for (const std::string& line : protocol_keys) text += "- " + line + "\n";
  WriteDurably(partial / "report.md", text);
  WriteDurably(partial / "report.json", rows.dump(1) + "\n");
  return {};
}

}  // namespace

Stage ReportStage(const config::RunConfig& config, const std::vector<Stage>& before) {
  Stage stage{.name = "report",
              .revision = 4,
              .config_parts = {"metrics", "name", "predict.also_candidates", "protocol", "seed"},
              .settings = ProtocolKeys(config, before),
              .inputs = {"audit"}};
  for (int i = 0; i < config.system_size(); ++i)
    stage.inputs.push_back(SystemRun(config, i).Metrics());
  std::vector<std::string> names;
  for (const Stage& one : before) names.push_back(one.name);
  stage.run = [names, keys = stage.settings](const RunContext& context,
                                             const std::filesystem::path& partial) {
    return WriteReport(context, partial, names, keys);
  };
  return stage;
}

}  // namespace whyrec::stages
