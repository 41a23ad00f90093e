// A model folder as a text generator: prompts in, texts out, over T5 or the Phi decoder. No
// LibTorch types.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/text/tokenizer.h"

namespace whyrec::lm {

struct ModelOptions {
  std::string device = "auto";    // tensor/device.h
  std::string dtype = "auto";     // "fp32", "bf16"; auto: fp32 on a CPU, bf16 on a GPU
  int64_t batch_tokens = 0;       // tokens whose keys and values are held at once; 0: by memory
  bool share_prefixes = true;     // decoder: common prefixes of prompts are read once
  bool deterministic = false;     // fixed batches: only the requests of one group
  std::filesystem::path adapter;  // a peft folder over a decoder; empty: none
};

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  // beams > 1: beam search, no sampling; of several end tokens it knows the first.
  int64_t beams = 1, returned = 1;
  int64_t groups = 1;  // diverse groups of beams (beam_search.h)
  double diversity = 0;
  int64_t min_new_tokens = 0;  // of beams
  double temperature = 0;      // 0: greedy
  int64_t top_k = 0;
  double top_p = 1;
  uint64_t seed = 0;
};

struct TextRequest {
  std::string name;          // its random stream
  std::vector<int64_t> ids;  // the prompt with every special token it needs
  std::string group;         // deterministic batches; empty: a group of its own
};

struct TextOutput {
  std::vector<int64_t> ids;  // without start and end tokens
  std::string text;
  // Sum of log probabilities, end token included; of beams, over its length (beam_search.h).
  double score = 0;
  bool finished = false;  // false: cut at max_new_tokens
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual const text::Tokenizer& tokenizer() const = 0;
  virtual int64_t context() const = 0;  // most tokens of prompt and output; 0: no limit (T5)
  // The prompt as the model reads it: T5 ends it, a chat model gets it as given.
  virtual std::vector<int64_t> Prompt(const std::string& text) const = 0;
  // `done` is called once per request, with `returned` outputs, best first, in whatever order they
  // end, on the calling thread. Error(kData) names a request whose prompt is empty, has ids outside
  // the vocabulary or does not fit the context. A true return of `stop` ends early.
  using Done = std::function<void(size_t request, std::vector<TextOutput> outputs)>;
  virtual void Generate(const std::vector<TextRequest>& requests, const GenerateOptions& options,
                        const Done& done, const std::function<bool()>& stop = {}) = 0;
};

// A folder of model_type t5 or phi3 with its tokenizer. Error(kData) says what is wrong with it.
std::unique_ptr<LanguageModel> LoadLanguageModel(const std::filesystem::path& folder,
                                                 const ModelOptions& options);

}  // namespace whyrec::lm
