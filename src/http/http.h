// The HTTP back end: texts from servers with OpenAI's interface (Ollama, vLLM, llama.cpp's server).
// A server's texts are not reproducible to the bit, so later stages read only the stored ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/gen/generator.h"

namespace whyrec::config {
class HttpConfig;
}

namespace whyrec::http {

struct Options {
  std::vector<std::string> endpoints;  // "http[s]://HOST:PORT/v1", without the route
  std::string model;                   // as the servers name it; empty: the one they list
  bool chat = true;                    // else completions, with the prompt rendered here
  std::string key;                     // empty: none is sent
  int64_t window = 8;                  // requests under way at the start, per endpoint
  int64_t retries = 6;                 // of one request at one endpoint
  double timeout_s = 30;               // longest silence; plus 50 ms per token asked for
  int64_t context = 0;                 // tokens the server must take; 0: 3,500
  uint64_t seed = 0;                   // of the run
  double first_wait_s = 0.5;           // before the first retry; then twice as long each time
  double examine_s = 600;              // a server is asked for its fingerprint again after this
};

// Takes the key from the environment. Error(kUsage) for no endpoint or a key with line breaks.
Options OptionsOf(const config::HttpConfig& config, uint64_t seed);

// Does not ask the servers yet; name() and Generate() do. Their errors, besides Generator's:
// kUsage: a key, model or route the server does not know; endpoints with different models.
// kData: the server refuses a prompt, or cuts prompts silently.
// kUnavailable: no endpoint is left that answers and serves the same model.
// kStoppedEarly: a stop signal came while requests were under way.
std::unique_ptr<gen::Generator> MakeGenerator(const Options& options);

}  // namespace whyrec::http
