// Generator: prompts in, texts out. Back ends (TEMPLATE, REPLAY, IN_PROCESS, HTTP) know nothing of
// the recommendation data beyond what a request carries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace whyrec::gen {

struct TextSampling {
  double temperature = 0.7;  // 0: greedy
  int64_t top_k = 0;         // 0: all
  double top_p = 1;
  int64_t max_new_tokens = 256;
};

// One text to write. (kind, id, step, attempt) name it within a run, and its random stream.
struct Request {
  std::string kind;  // what `id` is a row of: "item", "user", or a user of a split: "train"...
  int64_t id = 0;    // row of the catalogue
  std::string step;  // "pos", "neg", "fused"; "positive"; or the path of a tree's node, "base/2/0"
  std::string prompt;  // the user's turn, in full
  // The facts the prompt was rendered from (JSON text). The template back end writes from these; a
  // language model reads the prompt alone.
  std::string facts;
  std::string system = {};  // the system's turn; may be empty
  int64_t attempt = 0;      // unusable answers so far

  std::string PrefixGroup() const {
    return kind + " " + std::to_string(id);
  }  // prompts share a prefix
  std::string Name() const {
    return PrefixGroup() + " " + step + (attempt > 0 ? " #" + std::to_string(attempt) : "");
  }
};

// A back end's raw answer; answer.h parses it.
struct Reply {
  std::string text;
  std::string model;  // what wrote it: "template", a folder's name, the server's name for it
  uint64_t seed = 0;
  int64_t tokens_in = 0, tokens_out = 0;
  // Sum over the drawn tokens under the model, at temperature 1; NaN where the back end has none.
  double log_probability = std::numeric_limits<double>::quiet_NaN();
  bool finished = true;  // false: cut at max_new_tokens
  // What was done instead, where the back end cannot sample as asked ("no top_k"); else empty.
  std::string sampling_differs = {};
};

class Generator {
 public:
  virtual ~Generator() = default;
  virtual std::string name() const = 0;  // "template", "replay", or the model
  // Replies in the order of the requests. Error(kData) when a replay file lacks one or a prompt
  // does not fit the model, Error(kUnavailable) when no server answers after all retries.
  virtual std::vector<Reply> Generate(const std::vector<Request>& requests,
                                      const TextSampling& sampling) = 0;
};

// Deterministic text made from the facts. Reports call it "template", never a language model.
std::unique_ptr<Generator> MakeTemplate(uint64_t seed = 0);
// Records (record.h) matched by (kind, id, step, prompt_sha256); the error of a missing one names
// all four.
std::unique_ptr<Generator> MakeReplay(const std::filesystem::path& jsonl);

}  // namespace whyrec::gen
