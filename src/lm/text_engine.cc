#include "src/lm/text_engine.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <utility>

#include "src/base/error.h"
#include "src/lm/engine_batch.h"

namespace whyrec::lm {
namespace {

KeyShape ShapeOf(const Phi& model) {
  const PhiConfig& config = model.config();
  const at::Tensor& weight = model.table().front().second;
  return {config.layers, config.key_heads, config.head_size(), weight.scalar_type(),
          weight.device()};
}

}  // namespace

class TextEngine::State {
 public:
  State(const Phi& model, const EngineOptions& options)
      : model_(&model), options_(options), cache_(ShapeOf(model), options.cache_tokens) {
    if (options.cache_tokens < 2 || options.max_rows < 1 || options.prefill_tokens < 1) {
      Fail(Exit::kUsage, "an engine needs at least 2 cached tokens, 1 row and 1 token of prefill");
    }
  }

  void Run(const std::vector<EngineRequest>& requests, const decode::Sampling& sampling,
           const Done& done, const std::function<bool()>& stop) {
    const c10::NoGradGuard no_grad;
    for (size_t i = 0; i < requests.size(); ++i) Check(requests[i], i);
    std::vector<EngineBatch> batches = Cut(requests);
    for (const EngineBatch& batch : batches) CheckRoom(requests, batch);
    for (const EngineBatch& batch : batches) {
      // Numbers must not depend on what earlier batches left behind.
      if (options_.deterministic) cache_.Clear();
      BatchRun run({*model_, options_, requests, batch, sampling}, cache_, counts_);
      if (!run.Finish(done, stop)) break;
    }
    counts_.evicted_tokens = cache_.evicted();
  }

  const EngineCounts& counts() const { return counts_; }

 private:
  static std::string Name(const EngineRequest& request, size_t index) {
    return Cat("request ", index, " (", request.name, ")");
  }

  void Check(const EngineRequest& request, size_t index) const {
    const PhiConfig& config = model_->config();
    const auto fail = [&](const auto&... parts) {
      Fail(Exit::kData, Name(request, index), ": ", parts...);
    };
    const int64_t length = std::ssize(request.ids);
    if (length == 0) fail("the prompt is empty");
    if (request.max_new_tokens < 1) fail("max_new_tokens is ", request.max_new_tokens);
    for (const int64_t id : request.ids) {
      if (id < 0 || id >= config.vocabulary)
        fail("token ", id, " is outside the vocabulary of ", config.vocabulary);
    }
    if (length + request.max_new_tokens > config.positions) {
      fail(length, " prompt tokens and ", request.max_new_tokens,
           " new ones exceed the context of ", config.positions,
           "; shorten the prompt or lower max_new_tokens");
    }
  }

  void CheckRoom(const std::vector<EngineRequest>& requests, const EngineBatch& batch) const {
    for (const size_t i : batch.requests) {
      const int64_t need = std::ssize(requests[i].ids) - 1 + batch.width;
      if (need > options_.cache_tokens) {
        Fail(Exit::kData, Name(requests[i], i), ": needs keys and values of ", need,
             " tokens; the cache holds ", options_.cache_tokens,
             "; raise it or shorten the prompt");
      }
    }
  }

  // Sequences with long rotary factors run in batches of their own, and so does each group if
  // `deterministic` is set. Within a batch, prompts with a common prefix are adjacent, so that the
  // prefix is still cached when the next one comes.
  std::vector<EngineBatch> Cut(const std::vector<EngineRequest>& requests) const {
    const PhiConfig& config = model_->config();
    std::vector<EngineBatch> batches;
    std::map<std::pair<bool, std::string>, size_t> named;
    for (size_t i = 0; i < requests.size(); ++i) {
      const EngineRequest& request = requests[i];
      const int64_t total = std::ssize(request.ids) + request.max_new_tokens;
      const bool is_long = !config.long_factor.empty() && total > config.original_positions;
      size_t at = batches.size();
      if (!options_.deterministic || !request.group.empty()) {
        at = named.emplace(std::pair(is_long, options_.deterministic ? request.group : ""), at)
                 .first->second;
      }
      if (at == batches.size()) {
        batches.push_back(
            {.factors = is_long ? PrefixCache::Factors::kLong : PrefixCache::Factors::kShort});
      }
      EngineBatch& batch = batches[at];
      batch.requests.push_back(i);
      batch.width = std::max(batch.width, request.max_new_tokens);
      batch.total = std::max(batch.total, total);
    }
    for (EngineBatch& batch : batches) {
      std::sort(batch.requests.begin(), batch.requests.end(), [&](size_t a, size_t b) {
        return std::tie(requests[a].ids, requests[a].name, a) <
               std::tie(requests[b].ids, requests[b].name, b);
      });
    }
    return batches;
  }

  const Phi* model_;
  EngineOptions options_;
  PrefixCache cache_;
  EngineCounts counts_;
};

TextEngine::TextEngine(const Phi& model, const EngineOptions& options)
    : state_(std::make_unique<State>(model, options)) {}

TextEngine::~TextEngine() = default;

void TextEngine::Run(const std::vector<EngineRequest>& requests, const decode::Sampling& sampling,
                     const Done& done, const std::function<bool()>& stop) {
  state_->Run(requests, sampling, done, stop);
}

const EngineCounts& TextEngine::counts() const { return state_->counts(); }

}  // namespace whyrec::lm
