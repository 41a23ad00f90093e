// Continuous batching over a decoder with shared prefixes: a common prefix of several prompts is
// read once, and all sequences attend to the one copy of its keys and values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/decode/sampling.h"
#include "src/lm/phi.h"

namespace whyrec::lm {

struct EngineOptions {
  // Keys and values held at once, in tokens: cached prompts, and max_new_tokens for each sequence
  // that decodes (the batch's largest; their slots may be allocated twice over).
  int64_t cache_tokens = 65536;
  int64_t max_rows = 256;         // sequences that decode together
  int64_t prefill_tokens = 2048;  // prompt tokens read in one pass, beside the rows that decode
  bool share_prefixes = true;
  // One group of requests at a time, with an empty cache: its results do not depend on other groups
  // or on the order of requests. Prompts of one group in two calls are then read twice.
  bool deterministic = false;
};

struct EngineRequest {
  std::string name;  // random stream
  std::vector<int64_t> ids;
  std::string group;  // empty: a group of its own
  int64_t max_new_tokens = 128;
};

struct EngineOutput {
  std::vector<int64_t> ids;    // without the end token
  double log_probability = 0;  // sum over the drawn tokens, end token included
  bool finished = false;       // false: cut at max_new_tokens
};

// Every token that passed the network is in prefilled_tokens or in decoded_tokens. The last token
// of a prompt is read by each of its sequences, in the step that draws its first token.
struct EngineCounts {            // for tests, plans and reports
  int64_t prompt_tokens = 0;     // as asked for, of sequences that began
  int64_t prefilled_tokens = 0;  // prompt tokens read into the cache
  int64_t decoded_tokens = 0;    // drawn, end tokens included
  int64_t steps = 0;             // passes of the network
  int64_t evicted_tokens = 0;    // of the cache
};

// Requests wait until their tokens fit. The longest cached prefix is reused; prefixes that no
// sequence uses are evicted, least recently used first. The cache persists between calls, so the
// weights must not change.
class TextEngine {
 public:
  TextEngine(const Phi& model, const EngineOptions& options);
  ~TextEngine();

  // Called once per request, in whatever order they end, on the calling thread.
  using Done = std::function<void(size_t request, EngineOutput output)>;
  // Error(kData), before anything runs, names a request whose prompt is empty, has ids outside the
  // vocabulary, or does not fit the context or the cache. A true return of `stop` ends the call
  // between two steps; what was not finished is never reported.
  void Run(const std::vector<EngineRequest>& requests, const decode::Sampling& sampling,
           const Done& done, const std::function<bool()>& stop = {});
  const EngineCounts& counts() const;  // since construction

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace whyrec::lm
