// The clock that a process passes to the lease rules.
#pragma once

#include <chrono>

#include "cluster/lease/table.h"

namespace whyrec::cluster {

inline Micros Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

}  // namespace whyrec::cluster
