#include "src/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace whyrec::train {

double RateFactor(const config::TrainConfig& config, int64_t step, int64_t total) {
  const auto warmup = static_cast<int64_t>(std::ceil(config.warmup() * static_cast<double>(total)));
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(warmup);
  const double done = static_cast<double>(step - warmup) /
                      static_cast<double>(std::max<int64_t>(total - warmup, 1));
  switch (config.schedule()) {
    case config::TrainConfig::CONSTANT:
      return 1;
    case config::TrainConfig::LINEAR:
      return 1 - done;
    case config::TrainConfig::COSINE:
      return 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
  return 1;
}

}  // namespace whyrec::train
