// The artefacts of PULSE's reasons in HDF5: all trees of a run, and the reason chosen from each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
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

// All answers as they came: the lines of the trees' records, as gzip members of about a megabyte.
// They take more memory than the trees, so they are written, and given up, as the trees arrive.
class RecordWriter {
 public:
  explicit RecordWriter(std::filesystem::path jsonl_gz) : file_(std::move(jsonl_gz)) {}
  void Take(ReasonTree& tree);  // leaves it without records
  void Close();                 // Error(kCannotWrite)

 private:
  void Flush();

  std::filesystem::path file_;
  std::ofstream out_;  // opened with the first member, since only the merging rank writes
  std::string lines_;
};

// r* of a user; node -1 and an empty text: none.
struct ChosenReason {
  int64_t node = -1;
  float score = 0;
  std::string text;
};
using ChosenReasons = std::map<std::string, std::vector<ChosenReason>>;  // by split and user row

// <split>/{node, score, text}.
void SaveChosen(const ChosenReasons& choices, const std::filesystem::path& h5);
ChosenReasons LoadChosen(const std::filesystem::path& h5);

}  // namespace whyrec::gen
