// Continuous batching over a decoder with shared prefixes (pulse 13.2): tokens that prompts begin
// with alike are read once, and every branch attends to the one copy of their keys and values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/lm/phi.h"
#include "src/lm/sampling.h"

namespace whyrec::lm {

struct EngineOptions {
  int64_t cache_tokens = 65536;  // keys and values held at once, in tokens
  int64_t max_rows = 256;        // sequences that decode together
  int64_t prefill_tokens =
      2048;  // prompt tokens read in one pass, at most (one prompt may pass it)
  bool share_prefixes = true;
  bool deterministic = false;  // one group of requests at a time: its numbers depend on nobody else
};

struct EngineRequest {
  std::string name;  // random stream
  std::vector<int64_t> ids;
  std::string group;
  int64_t max_new_tokens = 128;
};

struct EngineOutput {
  std::vector<int64_t> ids;  // without the end token
  double log_probability = 0;
  bool finished = false;
};

struct EngineCounts {  // for tests, plans and reports
  int64_t prompt_tokens = 0, prefilled_tokens = 0, decoded_tokens = 0, steps = 0,
          evicted_tokens = 0;
};

// Requests wait until their tokens fit; the longest common prefix with what the cache holds is
// reused; prefixes nobody reads are evicted, the one unused for longest first. Error(kData) names a
// request that can never fit.
class TextEngine {
 public:
  TextEngine(const Phi& model, const EngineOptions& options);
  ~TextEngine();
  using Done = std::function<void(size_t request, EngineOutput output)>;
  void Run(const std::vector<EngineRequest>& requests, const Sampling& sampling, const Done& done,
           const std::function<bool()>& stop = {});
  const EngineCounts& counts() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace whyrec::lm
