// One user's tree of thoughts: node 0 is the base reason; children come after their parents.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace whyrec::gen {

struct ReasonNode {
  int64_t parent = -1, level = 0;  // -1: no parent (base reason; first thoughts of a chain)
  std::string path;                // "base/2/0": the step of its request
  std::string text;                // the reason; of a chain all thoughts so far
  std::string parse;  // as ParsedAnswer; "fallback text": no usable answer, made from the facts
  std::string model;
  int64_t tokens = 0;
  float log_likelihood = std::numeric_limits<float>::quiet_NaN();  // mean per token
  double score =
      std::numeric_limits<double>::quiet_NaN();  // S in the search; NaN: not scored there
  std::string record;  // of the answer, a line of record.h; beside the nodes in an artefact
};

struct ReasonTree {
  std::vector<ReasonNode> nodes;
  int64_t levels = 0;                      // complete ones; 0: nothing yet, 1: the base reason
  std::vector<std::string> repeated = {};  // records of chains that said what an earlier one says
};

// Trees of one unit of work as bytes, for leases and artefacts, and back. Error(kData).
std::string Pack(const std::vector<ReasonTree>& trees);
std::vector<ReasonTree> UnpackTrees(const std::string& bytes);

}  // namespace whyrec::gen
