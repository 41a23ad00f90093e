// report of a run under BOTH: every figure, audit and option in two columns, one for each protocol
// -> report.md; the rows of both -> report.json.
#include <map>

#include "src/config/run_config.h"
#include "src/eval/table.h"
#include "src/stages/predictions.h"
#include "src/stages/report_rows.h"
#include "src/stages/system_run.h"

namespace whyrec::stages {
namespace {

using nlohmann::json;

// One protocol's column, read from its half of the workspace.
struct Column {
  std::string protocol;
  json rows, audit, chance;
  std::vector<std::string> decided;  // "path=value"
};

// A table with a column for each protocol; "-" where a protocol lacks a line of the other.
class TwoColumns {
 public:
  TwoColumns(std::vector<std::string> head, const std::vector<Column>& columns) : head_(head) {
    for (const Column& column : columns) head_.push_back(column.protocol);
    for (size_t i = 0; i < columns.size(); ++i) none_.push_back("-");
  }

  void Set(const std::vector<std::string>& line, size_t column, const std::string& cell) {
    const auto [at, fresh] = cells_.emplace(line, none_);
    if (fresh) order_.push_back(line);
    at->second[column] = cell;
  }

  std::string Markdown() const {
    eval::Table table(head_);
    for (const auto& line : order_) {
      std::vector<std::string> cells = line;
      cells.insert(cells.end(), cells_.at(line).begin(), cells_.at(line).end());
      table.Add(std::move(cells));
    }
    return table.Markdown();
  }

 private:
  std::vector<std::string> head_, none_;
  std::vector<std::vector<std::string>> order_;
  std::map<std::vector<std::string>, std::vector<std::string>> cells_;
};

// With so few candidates everybody hits.
bool EverybodyHits(const std::string& task, const std::string& metric, const Column& column) {
  return AmongCandidates(task) && column.chance.at(metric) == 1;
}

std::string TaskTable(const std::string& task, const std::vector<Column>& columns) {
  TwoColumns table({"system", "metric"}, columns);
  std::string size;
  for (size_t i = 0; i < columns.size(); ++i)
    for (const json& row : columns[i].rows) {
      const std::string metric = row.at("metric");
      if (row.at("task") != task || EverybodyHits(task, metric, columns[i])) continue;
      table.Set({SystemName(row), metric}, i, Cell(row));
      size = Cat(row.at("candidates"), " candidates, ", row.at("users"), " users");
    }
  if (AmongCandidates(task))
    for (size_t i = 0; i < columns.size(); ++i)
      for (const json& row : columns[i].rows)
        if (const std::string metric = row.at("metric"); !EverybodyHits(task, metric, columns[i]))
          table.Set({"chance", metric}, i, eval::Fixed(columns[i].chance.at(metric)));
  return Cat("\n### ", task, ": ", size, "\n\n", table.Markdown());
}

std::string AuditTable(const std::vector<Column>& columns) {
  TwoColumns table({"HR@10 of"}, columns);
  for (size_t i = 0; i < columns.size(); ++i)
    for (const json& value : columns[i].audit)
      if (value.at("metric") == "HR@10")
        table.Set({value.at("check").get<std::string>()}, i, eval::Fixed(value.at("value")));
  return table.Markdown();
}

std::string OptionTable(const std::vector<Column>& columns) {
  TwoColumns table({"option"}, columns);
  for (size_t i = 0; i < columns.size(); ++i)
    for (const std::string& key : columns[i].decided) {
      const size_t equals = key.find('=');
      table.Set({key.substr(0, equals)}, i, key.substr(equals + 1));
    }
  return table.Markdown();
}

std::string Text(const config::RunConfig& config, const std::vector<Column>& columns) {
  json all = json::array();
  std::string names;
  for (const Column& column : columns) {
    for (const json& row : column.rows) all.push_back(row);
    names += (names.empty() ? "" : " and ") + column.protocol;
  }
  std::string text = Cat("# ", config.name(), ": ", all.at(0).at("dataset").get<std::string>(),
                         ", protocols ", names, "\n");
  for (const std::string& task : TasksOf(all, config)) text += TaskTable(task, columns);
  return text +
         "\nCells are means over users with 95 % bootstrap intervals, \"-\" where a protocol does "
         "not evaluate the task. Only the column AS_PUBLISHED has the leaks of the papers' "
         "protocols. Each protocol's own report, with notes and paired differences, is in its "
         "folder of the workspace.\n"
         "\n## Audit: rules that see item and user numbers only, and the effect of the order of "
         "ties\n\n" +
         AuditTable(columns) + "\n## Values that the protocol decides\n\n" + OptionTable(columns);
}

}  // namespace

Stage ComparisonStage(const Halves& halves) {
  Stage stage{.name = "report", .config_parts = {"name"}};
  const std::string metrics = SystemRun(halves.at(0)->config, 0).Metrics();  // of any system
  for (const auto& half : halves)
    for (const std::string& input : {std::string("report"), std::string("audit"), metrics})
      stage.inputs.push_back(half->folder + "/" + input);
  stage.run = [=](const RunContext& context, const std::filesystem::path& partial) -> Facts {
    std::vector<Column> columns;
    json rows = json::array();
    for (const auto& half : halves) {
      const auto of = [&](const std::string& artefact, const char* file) {
        return ReadJson(context.workspace.Of(half->folder) / artefact / file);
      };
      columns.push_back({config::RunConfig::Protocol_Name(half->config.protocol()),
                         of("report", "report.json"), of("audit", "audit.json"),
                         of(metrics, "chance.json"), half->decided});
      for (const json& row : columns.back().rows) rows.push_back(row);
    }
    WriteDurably(partial / "report.md", Text(context.config, columns));
    WriteDurably(partial / "report.json", rows.dump(1) + "\n");
    return {};
  };
  return stage;
}

}  // namespace whyrec::stages
