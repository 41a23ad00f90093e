// How the learning rate moves over a run.
#pragma once

#include <cstdint>

#include "proto/train.pb.h"

namespace whyrec::train {

// What the rate of step = 0..total-1 is multiplied by: over the first ceil(warmup * total) steps
// it rises from 0 in equal parts, then it is constant or falls to 0 on a line or half a cosine, as
// transformers' schedules of these names do.
double RateFactor(const config::TrainConfig& config, int64_t step, int64_t total);

}  // namespace whyrec::train
