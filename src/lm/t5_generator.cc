// A T5 folder as a text generator: prompts of like length share a batch.
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "src/base/error.h"
#include "src/decode/beam_search.h"
#include "src/decode/sample_search.h"
#include "src/lm/generators.h"
#include "src/lm/t5.h"

namespace whyrec::lm {
namespace {

constexpr int64_t kBatchTokens = 16384;  // source tokens of a batch, padding included
constexpr int64_t kBatchRows = 512;      // beams or samples of a batch

using Numbers = std::vector<size_t>;  // of requests that are decoded together

class T5Generator final : public LanguageModel {
 public:
  T5Generator(const std::filesystem::path& folder, const ModelOptions& options, Placement placement)
      : tokenizer_(text::LoadTokenizer(folder)),
        deterministic_(options.deterministic),
        batch_tokens_(options.batch_tokens > 0 ? options.batch_tokens : kBatchTokens),
        parameters_(placement.dtype, placement.device),
        model_(LoadT5Config(folder), parameters_) {
    if (!options.adapter.empty())
      Fail(Exit::kUsage, "adapters are for Phi models; ", folder.string(), " is T5");
    CheckTokenizer(folder, *tokenizer_, model_.config().vocabulary);
    model_.Load(folder);
  }

  const text::Tokenizer& tokenizer() const override { return *tokenizer_; }
  int64_t context() const override { return 0; }
  std::vector<int64_t> Prompt(const std::string& text) const override {
    std::vector<int64_t> ids = tokenizer_->Encode(text);
    ids.push_back(model_.config().eos);
    return ids;
  }

  void Generate(const std::vector<TextRequest>& requests, const GenerateOptions& options,
                const Done& done, const std::function<bool()>& stop) override {
    CheckRequests(requests, model_.config().vocabulary, context(), options.max_new_tokens);
    const c10::NoGradGuard no_grad;
    const auto width = static_cast<size_t>(std::max(options.beams, options.returned));
    for (const Numbers& batch : deterministic_ ? Groups(requests) : Alike(requests, width)) {
      if (stop && stop()) return;
      Decode(requests, batch, options, done);
    }
  }

 private:
  // One batch per group, in the order of the requests.
  static std::vector<Numbers> Groups(const std::vector<TextRequest>& requests) {
    std::vector<Numbers> batches;
    std::map<std::string, size_t> batch_of;
    for (size_t r = 0; r < requests.size(); ++r) {
      const std::string& group = requests[r].group;
      const auto [found, is_new] =
          batch_of.try_emplace(group.empty() ? requests[r].name : group, batches.size());
      if (is_new) batches.emplace_back();
      batches[found->second].push_back(r);
    }
    return batches;
  }

  // By length, so that little is padded.
  std::vector<Numbers> Alike(const std::vector<TextRequest>& requests, size_t width) const {
    Numbers order(requests.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return requests[a].ids.size() < requests[b].ids.size();
    });
    std::vector<Numbers> batches;
    for (const size_t r : order) {
      const size_t rows = batches.empty() ? 0 : batches.back().size() + 1;
      if (batches.empty() || rows * width > kBatchRows ||
          rows * requests[r].ids.size() > static_cast<size_t>(batch_tokens_))
        batches.emplace_back();
      batches.back().push_back(r);
    }
    return batches;
  }

  void Decode(const std::vector<TextRequest>& requests, const Numbers& batch,
              const GenerateOptions& options, const Done& done) {
    size_t longest = 0;
    for (const size_t r : batch) longest = std::max(longest, requests[r].ids.size());
    const auto samples = static_cast<int64_t>(batch.size());
    at::Tensor ids =
        at::full({samples, static_cast<int64_t>(longest)}, model_.config().pad, at::kLong);
    at::Tensor mask = at::full(ids.sizes(), false, at::kBool);
    std::vector<std::string> names;
    for (int64_t i = 0; i < samples; ++i) {
      const TextRequest& request = requests[batch[static_cast<size_t>(i)]];
      const auto length = static_cast<int64_t>(request.ids.size());
      ids[i].narrow(0, 0, length).copy_(at::tensor(request.ids));
      mask[i].narrow(0, 0, length).fill_(true);
      names.push_back(request.name);
    }
    ids = ids.to(parameters_.device());
    mask = mask.to(parameters_.device());
    T5::Cache cache = model_.Start(model_.Encode(model_.Embed(ids), mask, {}), mask);
    const auto step = [&](const decode::StepInput& input) { return model_.Step(cache, input); };
    const auto outputs =
        options.beams > 1 ? Search(step, samples, options) : Sample(step, names, options);
    for (size_t i = 0; i < batch.size(); ++i) done(batch[i], outputs[i]);
  }

  std::vector<std::vector<TextOutput>> Search(const decode::StepFunction& step, int64_t samples,
                                              const GenerateOptions& options) const {
    const decode::BeamOptions beams = BeamsOf(options, model_.config().start, model_.config().eos);
    std::vector<std::vector<TextOutput>> outputs;
    for (const auto& found : decode::BeamSearch(step, samples, beams)) {
      outputs.emplace_back();
      for (const decode::Hypothesis& h : found)
        outputs.back().push_back({h.tokens, tokenizer_->Decode(h.tokens), h.score, h.finished});
    }
    return outputs;
  }

  std::vector<std::vector<TextOutput>> Sample(const decode::StepFunction& step,
                                              const std::vector<std::string>& names,
                                              const GenerateOptions& options) const {
    std::vector<std::string> streams;
    for (const std::string& name : names)
      for (int64_t copy = 0; copy < options.returned; ++copy)
        streams.push_back(StreamName(name, copy));
    const auto found = decode::SampleSearch(step, streams,
                                            {.temperature = options.temperature,
                                             .top_k = options.top_k,
                                             .top_p = options.top_p,
                                             .seed = options.seed},
                                            {.continuations = options.returned,
                                             .max_new_tokens = options.max_new_tokens,
                                             .start = model_.config().start,
                                             .eos = model_.config().eos});
    std::vector<std::vector<TextOutput>> outputs(names.size());
    for (size_t i = 0; i < found.size(); ++i)
      outputs[i / static_cast<size_t>(options.returned)].push_back(
          {found[i].tokens, tokenizer_->Decode(found[i].tokens), found[i].log_probability,
           found[i].finished});
    return outputs;
  }

  std::unique_ptr<text::Tokenizer> tokenizer_;
  bool deterministic_;
  int64_t batch_tokens_;
  nn::Parameters parameters_;
  T5 model_;
};

}  // namespace

std::unique_ptr<LanguageModel> MakeT5(const std::filesystem::path& folder,
                                      const ModelOptions& options, Placement placement) {
  return std::make_unique<T5Generator>(folder, options, placement);
}

}  // namespace whyrec::lm
