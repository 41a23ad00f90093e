#include "src/lm/in_process.h"

#include <algorithm>
#include <array>

#include "src/base/error.h"
#include "src/base/stop.h"
#include "src/text/chat.h"

namespace whyrec::lm {
namespace {

bool HasChatTokens(const text::Tokenizer& tokenizer) {
  constexpr std::array kTokens{"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"};
  return std::all_of(kTokens.begin(), kTokens.end(),
                     [&](const char* token) { return tokenizer.Id(token).has_value(); });
}

// "<|end|>" in a review must not end the turn.
std::string Spelled(const std::string& content) {
  std::string text = content;
  for (size_t at = text.find("<|"); at != text.npos; at = text.find("<|", at))
    text.insert(++at, 1, ' ');
  return text;
}

class InProcess final : public gen::Generator {
 public:
  InProcess(const std::filesystem::path& folder, const ModelOptions& options, uint64_t seed,
            Turns turns)
      : folder_(folder),
        seed_(seed),
        model_(LoadLanguageModel(folder, options)),
        chat_(turns == Turns::kChat && HasChatTokens(model_->tokenizer())) {}

  std::string name() const override {
    const std::filesystem::path plain = folder_.lexically_normal();
    return (plain.has_filename() ? plain : plain.parent_path()).filename().string();
  }

  std::vector<gen::Reply> Generate(const std::vector<gen::Request>& requests,
                                   const gen::TextSampling& sampling) override {
    std::vector<TextRequest> prompts;
    for (const gen::Request& request : requests) {
      prompts.push_back({request.Name(), model_->Prompt(TextOf(request)), request.PrefixGroup()});
      CheckFits(prompts.back(), sampling);
    }
    std::vector<gen::Reply> replies(requests.size());
    size_t done = 0;
    model_->Generate(
        prompts,
        {.max_new_tokens = sampling.max_new_tokens,
         .temperature = sampling.temperature,
         .top_k = sampling.top_k,
         .top_p = sampling.top_p,
         .seed = seed_},
        [&](size_t i, std::vector<TextOutput> outputs) {
          replies[i] = ReplyOf(std::ssize(prompts[i].ids), outputs.at(0));
          ++done;
        },
        StopRequested);
    if (done < requests.size())
      Fail(Exit::kStoppedEarly, "stopped by a signal while generating ", requests.size(), " texts");
    return replies;
  }

 private:
  std::string TextOf(const gen::Request& request) const {
    const std::string system = Spelled(request.system), prompt = Spelled(request.prompt);
    if (!chat_) return system.empty() ? prompt : system + "\n" + prompt;
    std::vector<text::ChatMessage> messages;
    if (!system.empty()) messages.push_back({"system", system});
    messages.push_back({"user", prompt});
    return text::ChatPrompt(messages);
  }

  void CheckFits(const TextRequest& prompt, const gen::TextSampling& sampling) const {
    const auto tokens = std::ssize(prompt.ids);
    if (model_->context() > 0 && tokens + sampling.max_new_tokens > model_->context())
      Fail(Exit::kData, folder_.string(), ": the prompt of ", prompt.name, " has ", tokens,
           " tokens; with ", sampling.max_new_tokens,
           " new ones it exceeds the model's context of ", model_->context(),
           "; show less evidence in a prompt (pulse.positive.prompt_tokens, ",
           "pulse.positive.review_tokens), ask for fewer tokens or take a model with more context");
  }

  gen::Reply ReplyOf(int64_t tokens_in, const TextOutput& output) const {
    return {.text = output.text,
            .model = name(),
            .seed = seed_,
            .tokens_in = tokens_in,
            .tokens_out = std::ssize(output.ids) + (output.finished ? 1 : 0),
            .log_probability = output.score,
            .finished = output.finished};
  }

  std::filesystem::path folder_;
  uint64_t seed_;
  std::unique_ptr<LanguageModel> model_;
  bool chat_;
};

}  // namespace

std::unique_ptr<gen::Generator> MakeInProcess(const std::filesystem::path& folder,
                                              const ModelOptions& options, uint64_t seed,
                                              Turns turns) {
  return std::make_unique<InProcess>(folder, options, seed, turns);
}

}  // namespace whyrec::lm
