// The pieces that report.cc and comparison.cc share.
#include "src/stages/report_rows.h"

#include <algorithm>

#include "src/eval/table.h"

namespace whyrec::stages {

using nlohmann::json;

json ReadJson(const std::filesystem::path& file) { return json::parse(ReadFile(file)); }

std::string SystemName(const std::string& system, const std::string& variant) {
  return system + (variant.empty() ? "" : " (" + variant + ")");
}

std::string SystemName(const json& row) { return SystemName(row.at("system"), row.at("variant")); }

std::string Cell(const json& row) {
  return eval::Fixed(row.at("value")) + " [" + eval::Fixed(row.at("low"), 3) + ", " +
         eval::Fixed(row.at("high"), 3) + "]";
}

std::vector<std::string> TasksOf(const json& rows, const config::RunConfig& config) {
  std::vector<std::string> order = {"sequential", "direct"};
  for (const std::string& how : AlsoCandidates(config)) order.push_back("direct_" + how);
  order.push_back("direct_full");
  std::erase_if(order, [&](const std::string& task) {
    return std::ranges::none_of(rows, [&](const json& row) { return row.at("task") == task; });
  });
  return order;
}

}  // namespace whyrec::stages
