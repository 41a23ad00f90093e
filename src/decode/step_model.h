// What decoding asks of a network: the next token's logits for every live row of a batch.
#pragma once

#include <functional>

#include "src/nn/at.h"

namespace whyrec::decode {

// All samples of a batch hold the same number of rows: one at the first step (beams are equal
// then), later one per beam. Samples that are finished leave the batch.
struct StepInput {
  at::Tensor tokens;  // i64 [samples * width], sample-major: what each row appends
  at::Tensor origin;  // i64 [samples * width]: the row of the previous step it continues
  int64_t width = 1;
  // i64 [samples]: which samples of the previous step go on, ascending; undefined: all of them.
  at::Tensor kept;
};

// Logits [samples * width, V], V being the whole vocabulary or the columns the network was
// restricted to. At the first step width is 1 and origin is undefined.
using StepFunction = std::function<at::Tensor(const StepInput&)>;

}  // namespace whyrec::decode
