// A Phi folder as a text generator: sampled by the engine, searched beam by beam.
#include <c10/core/GradMode.h>

#include "src/base/error.h"
#include "src/decode/beam_search.h"
#include "src/lm/generators.h"
#include "src/lm/lora.h"
#include "src/lm/phi_steps.h"
#include "src/lm/text_engine.h"

namespace whyrec::lm {
namespace {

class PhiGenerator final : public LanguageModel {
 public:
  PhiGenerator(const std::filesystem::path& folder, const ModelOptions& options,
               Placement placement)
      : tokenizer_(text::LoadTokenizer(folder)),
        parameters_(placement.dtype, placement.device),
        model_(LoadPhiConfig(folder), parameters_) {
    CheckTokenizer(folder, *tokenizer_, model_.config().vocabulary);
    model_.Load(folder);
    if (!options.adapter.empty()) {
      nn::Parameters adapter(at::kFloat, placement.device);
      Lora lora(model_, LoadLoraConfig(options.adapter), adapter);
      lora.Load(options.adapter);
      lora.Merge();  // the same results as a separate adapter, without its cost
    }
    engine_options_.share_prefixes = options.share_prefixes;
    engine_options_.deterministic = options.deterministic;
    if (options.batch_tokens > 0) engine_options_.cache_tokens = options.batch_tokens;
  }

  const text::Tokenizer& tokenizer() const override { return *tokenizer_; }
  int64_t context() const override { return model_.config().positions; }
  std::vector<int64_t> Prompt(const std::string& text) const override {
    return tokenizer_->Encode(text);
  }

  void Generate(const std::vector<TextRequest>& requests, const GenerateOptions& options,
                const Done& done, const std::function<bool()>& stop) override {
    CheckRequests(requests, model_.config().vocabulary, context(), options.max_new_tokens);
    if (options.beams > 1)
      Search(requests, options, done, stop);
    else
      Sample(requests, options, done, stop);
  }

 private:
  TextOutput Output(std::vector<int64_t> ids, double score, bool finished) const {
    std::string text = tokenizer_->Decode(ids);
    return {std::move(ids), std::move(text), score, finished};
  }

  // `returned` samples of a prompt are requests of their own; the prompt is read once all the same.
  void Sample(const std::vector<TextRequest>& requests, const GenerateOptions& options,
              const Done& done, const std::function<bool()>& stop) {
    const auto copies = static_cast<size_t>(options.returned);
    std::vector<EngineRequest> all;
    for (const TextRequest& request : requests)
      for (size_t copy = 0; copy < copies; ++copy)
        all.push_back({.name = StreamName(request.name, static_cast<int64_t>(copy)),
                       .ids = request.ids,
                       .group = request.group.empty() ? request.name : request.group,
                       .max_new_tokens = options.max_new_tokens});
    std::vector<std::vector<TextOutput>> outputs(requests.size());
    std::vector<size_t> missing(requests.size(), copies);
    TextEngine engine(model_, engine_options_);
    engine.Run(
        all,
        {.temperature = options.temperature,
         .top_k = options.top_k,
         .top_p = options.top_p,
         .seed = options.seed},
        [&](size_t which, EngineOutput output) {
          const size_t request = which / copies;
          outputs[request].resize(copies);
          outputs[request][which % copies] =
              Output(std::move(output.ids), output.log_probability, output.finished);
          if (--missing[request] == 0) done(request, std::move(outputs[request]));
        },
        stop);
  }

  void Search(const std::vector<TextRequest>& requests, const GenerateOptions& options,
              const Done& done, const std::function<bool()>& stop) {
    for (size_t r = 0; r < requests.size(); ++r) {
      if (stop && stop()) return;
      PhiSteps steps(model_, requests[r].ids, options.max_new_tokens);
      const decode::BeamOptions beams =
          BeamsOf(options, requests[r].ids.back(), model_.config().eos.front());
      const auto found = decode::BeamSearch(
          [&](const decode::StepInput& input) { return steps.Step(input); }, 1, beams);
      std::vector<TextOutput> outputs;
      for (const decode::Hypothesis& hypothesis : found[0])
        outputs.push_back(Output(hypothesis.tokens, hypothesis.score, hypothesis.finished));
      done(r, std::move(outputs));
    }
  }

  std::unique_ptr<text::Tokenizer> tokenizer_;
  nn::Parameters parameters_;
  Phi model_;
  EngineOptions engine_options_;
};

}  // namespace

std::unique_ptr<LanguageModel> MakePhi(const std::filesystem::path& folder,
                                       const ModelOptions& options, Placement placement) {
  return std::make_unique<PhiGenerator>(folder, options, placement);
}

}  // namespace whyrec::lm
