// What PULSE's prompts may show of a user. A Target is a type of its own: only prompt P1 and the
// behaviour text take one, so no other prompt can.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace whyrec::gen {

struct Event {
  std::string title;
  float rating = 0;  // 1 to 5; 0: not rated
  std::string review;
};

struct Evidence {
  std::string split;                                 // "train" | "validation" | "test"
  int64_t user = 0;                                  // row
  std::vector<Event> history;                        // oldest first; never the target
  std::vector<std::vector<std::string>> neighbours;  // titles, newest first, nearest user first
};

struct Target {
  std::string title;
};

}  // namespace whyrec::gen
