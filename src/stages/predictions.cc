#include "src/stages/predictions.h"

#include <nlohmann/json.hpp>

#include "src/base/error.h"
#include "src/store/hdf5_file.h"

namespace whyrec::stages {

void TaskPredictions::Append(const TaskPredictions& more) {
  for (int64_t i = 0; i < more.lists.rows(); ++i) lists.Append(more.lists.row(i));
  ranks.insert(ranks.end(), more.ranks.begin(), more.ranks.end());
}

void Predictions::Append(const Predictions& more) {
  users.insert(users.end(), more.users.begin(), more.users.end());
  if (tasks.empty()) {
    tasks = more.tasks;
    return;
  }
  WR_CHECK(tasks.size() == more.tasks.size(), tasks.size(), " and ", more.tasks.size(), " tasks");
  for (size_t i = 0; i < tasks.size(); ++i) tasks[i].Append(more.tasks[i]);
}

void Save(const Predictions& predictions, const std::filesystem::path& h5) {
  store::Hdf5Writer file(h5);
  file.WriteInts("users", predictions.users);
  std::string names;
  for (const TaskPredictions& task : predictions.tasks) {
    names += (names.empty() ? "" : " ") + task.task;
    file.WriteInts(task.task + "/lists", task.lists);
    if (!task.scored) continue;
    std::vector<int64_t> places;  // greater, ties, miss
    for (const eval::Rank& rank : task.ranks)
      places.insert(places.end(), {rank.greater, rank.ties, int64_t{rank.miss}});
    file.WriteInts(task.task + "/ranks", places);
  }
  file.Attribute("tasks", names);
  file.Close();
}

Predictions LoadPredictions(const std::filesystem::path& h5) {
  const store::Hdf5Reader file(h5);
  Predictions out{.users = file.ReadInts("users"), .tasks = {}};
  std::istringstream names(file.Attribute("tasks"));
  for (std::string name; names >> name;) {
    TaskPredictions task{.task = name,
                         .scored = file.Has(name + "/ranks"),
                         .lists = file.ReadRagged(name + "/lists"),
                         .ranks = {}};
    if (task.scored) {
      const auto places = file.ReadInts(name + "/ranks");
      for (size_t i = 0; i + 2 < places.size(); i += 3)
        task.ranks.push_back({places[i], places[i + 1], places[i + 2] != 0});
    }
    out.tasks.push_back(std::move(task));
  }
  return out;
}

std::string Pack(const Predictions& predictions) {
  nlohmann::json tasks = nlohmann::json::array();
  for (const TaskPredictions& task : predictions.tasks) {
    nlohmann::json ranks = nlohmann::json::array();
    for (const eval::Rank& rank : task.ranks) ranks.push_back({rank.greater, rank.ties, rank.miss});
    tasks.push_back({{"task", task.task},
                     {"scored", task.scored},
                     {"offsets", task.lists.offsets},
                     {"values", task.lists.values},
                     {"ranks", ranks}});
  }
  return nlohmann::json{{"users", predictions.users}, {"tasks", tasks}}.dump();
}

Predictions Unpack(const std::string& bytes) {
  const auto json = nlohmann::json::parse(bytes);
  Predictions out{.users = json.at("users"), .tasks = {}};
  for (const auto& from : json.at("tasks")) {
    TaskPredictions task{
        .task = from.at("task"), .scored = from.at("scored"), .lists = {}, .ranks = {}};
    task.lists.offsets = from.at("offsets").get<std::vector<int64_t>>();
    task.lists.values = from.at("values").get<std::vector<int64_t>>();
    for (const auto& rank : from.at("ranks"))
      task.ranks.push_back({rank[0].get<int64_t>(), rank[1].get<int64_t>(), rank[2].get<bool>()});
    out.tasks.push_back(std::move(task));
  }
  return out;
}

}  // namespace whyrec::stages
