// Consistent hashing: a group of prompts always goes to the same server, whose prefix cache then
// helps, and when a server is lost only its own groups move (Karger et al., STOC 1997).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/base/rng.h"

namespace whyrec::http {

class Ring {
 public:
  explicit Ring(const std::vector<std::string>& endpoints) {
    for (size_t i = 0; i < endpoints.size(); ++i)
      for (uint64_t point = 0; point < kPoints; ++point)
        ring_.emplace(Rng(point, endpoints[i]).Next(), i);
  }

  // The group's endpoint among the live ones; -1 when there are none.
  int64_t Owner(const std::string& group, const std::vector<bool>& lives) const {
    auto at = ring_.lower_bound(Rng(kPoints, group).Next());
    for (size_t step = 0; step < ring_.size(); ++step, ++at) {
      if (at == ring_.end()) at = ring_.begin();
      if (lives[at->second]) return static_cast<int64_t>(at->second);
    }
    return -1;
  }

 private:
  static constexpr uint64_t kPoints = 128;  // per endpoint: shares within about a tenth
  std::map<uint64_t, size_t> ring_;
};

}  // namespace whyrec::http
