// The next token from logits: greedy, or drawn at a temperature from the top k, top p. The order of
// the three is the reference library's: temperature, top-k, top-p.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::decode {

struct Sampling {
  double temperature = 0;  // 0: greedy; then the other fields mean nothing
  int64_t top_k = 0;       // 0: all
  double top_p = 1;        // the fewest tokens whose probabilities sum to it
  uint64_t seed = 0;
};

// One row's random stream: draw number `step` of the stream keyed by (seed, name) does not depend
// on the rest of the batch.
struct Stream {
  std::string name;
  int64_t step = 0;  // tokens drawn before
};

struct Drawn {
  int64_t token = 0;
  double log_probability = 0;  // under the model at temperature 1, over all tokens
};

// logits [n, V] of any float type and device, one stream per row. NaN logits are an Error(kData)
// that names the stream. Ties go to the smaller token.
std::vector<Drawn> Draw(const at::Tensor& logits, const Sampling& sampling,
                        const std::vector<Stream>& streams);

}  // namespace whyrec::decode
