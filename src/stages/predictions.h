// The predictions artefact: for every user and task the top items and, for systems with scores, the
// target's rank.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "src/base/ragged.h"
#include "src/eval/metrics.h"

namespace whyrec::stages {

// One task over the evaluated users. Systems with scores have ranks; others have lists only.
struct TaskPredictions {
  // "sequential", "direct", "direct_full" (over all items), "direct_popularity" and the like (other
  // candidates).
  std::string task;
  bool scored = false;
  Ragged<int64_t> lists;  // item rows, best first, at most ten; -1 where an answer is no item
  std::vector<eval::Rank> ranks;  // parallel to the users, when scored

  void Append(const TaskPredictions& more);
};

// Whether a task of that name ranks the target among a few candidates, not among all items.
inline bool AmongCandidates(const std::string& task) {
  return task.starts_with("direct") && task != "direct_full";
}

struct Predictions {
  std::vector<int64_t> users;  // rows, ascending
  std::vector<TaskPredictions> tasks;

  void Append(const Predictions& more);
};

void Save(const Predictions& predictions, const std::filesystem::path& h5);
Predictions LoadPredictions(const std::filesystem::path& h5);

// As one unit's result; exact.
std::string Pack(const Predictions& predictions);
Predictions Unpack(const std::string& bytes);

}  // namespace whyrec::stages
