#include "src/gen/ask.h"

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/gen/words.h"
#include "src/text/unicode.h"

namespace whyrec::gen {
namespace {

ParsedAnswer Read(const Reply& reply, const Asking& asking) {
  if (!asking.raw) return ParseAnswer(reply.text, asking.rules, reply.finished);
  const std::string text = text::RepairUtf8(reply.text);
  return {text, "", WordCount(text) > 0 ? "raw" : "failed"};
}

Answer Joined(const Request& request, Reply reply, ParsedAnswer parsed) {
  return {.text = std::move(parsed.text),
          .why = std::move(parsed.why),
          .raw = std::move(reply.text),
          .model = std::move(reply.model),
          .prompt_sha256 = Sha256Of(request.prompt),
          .seed = reply.seed,
          .tokens_in = reply.tokens_in,
          .tokens_out = reply.tokens_out,
          .parse = std::move(parsed.parse),
          .log_probability = reply.log_probability,
          .finished = reply.finished};
}

// `answer` keeps the model's raw output; its text is made from the facts.
void FallBack(Generator& writer, Request request, const Asking& asking, Answer& answer) {
  request.attempt = 0;
  const Reply reply = writer.Generate({request}, {}).at(0);
  AnswerRules rules = asking.rules;
  rules.any_script = true;  // that of the catalogue
  ParsedAnswer parsed = ParseAnswer(reply.text, rules);
  WR_CHECK(parsed.parse != "failed", request.Name(), ": ", reply.text);
  answer.text = std::move(parsed.text);
  answer.why = std::move(parsed.why);
  answer.parse = kFallbackText;
}

}  // namespace

std::vector<Answer> Ask(Generator& generator, const std::vector<Request>& requests,
                        const Asking& asking) {
  std::vector<Answer> answers(requests.size());
  std::vector<size_t> open(requests.size());
  for (size_t i = 0; i < open.size(); ++i) open[i] = i;
  for (int64_t attempt = 0; attempt < asking.attempts && !open.empty(); ++attempt) {
    std::vector<Request> batch;
    for (const size_t i : open) {
      batch.push_back(requests[i]);
      batch.back().attempt = attempt;
    }
    auto replies = generator.Generate(batch, asking.draws(attempt));
    WR_CHECK(replies.size() == batch.size(), replies.size(), " replies to ", batch.size());
    std::vector<size_t> failed;
    for (size_t k = 0; k < open.size(); ++k) {
      ParsedAnswer parsed = Read(replies[k], asking);
      if (parsed.parse == "failed") failed.push_back(open[k]);
      answers[open[k]] = Joined(batch[k], std::move(replies[k]), std::move(parsed));
    }
    open = std::move(failed);
  }
  if (open.empty()) return answers;
  const auto writer = MakeTemplate();
  for (const size_t i : open) FallBack(*writer, requests[i], asking, answers[i]);
  return answers;
}

}  // namespace whyrec::gen
