// The artefacts of PULSE's reasons in HDF5: all trees of a run, and the reason chosen from each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "src/gen/reason_tree.h"

namespace whyrec::gen {

// Split name ("train", "validation", "test") -> trees by user row; a user without one has no nodes.
using ReasonPool = std::map<std::string, std::vector<ReasonTree>>;

// <split>/{user, node, parent, level, score, log_likelihood, tokens, path, parse, model, text}, one
// row a node, in the order of users. Records are not among them.
void SavePool(const ReasonPool& pool, const std::filesystem::path& h5);
ReasonPool LoadPool(const std::filesystem::path& h5);
// All answers as they came: the lines of the trees' records, gzip.
void SaveRecords(const std::vector<ReasonTree>& trees, const std::filesystem::path& jsonl_gz);

// r* of a user; node -1 and an empty text: none.
struct Choice {
  int64_t node = -1;
  float score = 0;
  std::string text;
};
using Choices = std::map<std::string, std::vector<Choice>>;  // by split and user row

// <split>/{node, score, text}.
void SaveChoices(const Choices& choices, const std::filesystem::path& h5);
Choices LoadChoices(const std::filesystem::path& h5);

}  // namespace whyrec::gen
