// What reports read and show of metrics.json: its rows, one for each system, task and metric.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/stages/stage.h"

namespace whyrec::stages {

nlohmann::json ReadJson(const std::filesystem::path& file);

// "pulse (THOUGHT)".
std::string SystemName(const std::string& system, const std::string& variant);
std::string SystemName(const nlohmann::json& row);
// "0.2555 [0.216, 0.297]": the mean over users with its 95 % interval.
std::string Cell(const nlohmann::json& row);

// The tasks of the rows, in the order of the tables.
std::vector<std::string> TasksOf(const nlohmann::json& rows, const config::RunConfig& config);

}  // namespace whyrec::stages
