// The REPLAY back end: answers from recorded texts, so that a run can be repeated without the
// language model that wrote them.
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/gen/generator.h"
#include "src/gen/record.h"

namespace whyrec::gen {
namespace {

// For a record without a raw answer: the JSON object that a model would have written for its text.
Reply ReplyOf(const Record& record) {
  const Answer& answer = record.answer;
  const nlohmann::ordered_json text{{"summary", answer.text.empty() ? "None" : answer.text},
                                    {"why", answer.why}};
  return {.text = record.has_raw ? answer.raw : text.dump(),
          .model = answer.model,
          .seed = answer.seed,
          .tokens_in = answer.tokens_in,
          .tokens_out = answer.tokens_out,
          .log_probability = answer.log_probability,
          .finished = answer.finished};
}

class Replay final : public Generator {
 public:
  explicit Replay(const std::filesystem::path& jsonl) : file_(jsonl.string()) {
    RecordReader reader(jsonl);
    for (Record record; reader.Next(record);) {
      const Reply reply = ReplyOf(record);
      const auto [at, is_new] = replies_.try_emplace(
          Key{record.kind, record.id, record.step, record.answer.prompt_sha256}, reply);
      if (!is_new && at->second.text != reply.text)
        Fail(Exit::kData, reader.place(), ": a second text for ", record.kind, " ", record.id, ", ",
             record.step, " and the same prompt; keep one of them");
    }
  }

  std::string name() const override { return "replay"; }

  // TextSampling options and attempts are ignored: there is one recorded answer.
  std::vector<Reply> Generate(const std::vector<Request>& requests, const TextSampling&) override {
    std::vector<Reply> replies;
    for (const auto& request : requests) {
      const Key key{request.kind, request.id, request.step, Sha256Of(request.prompt)};
      const auto found = replies_.find(key);
      if (found == replies_.end()) FailMissing(key);
      replies.push_back(found->second);
    }
    return replies;
  }

 private:
  using Key = std::tuple<std::string, int64_t, std::string, std::string>;

  [[noreturn]] void FailMissing(const Key& key) const {
    const auto& [kind, id, step, prompt] = key;
    const auto near = replies_.lower_bound(Key{kind, id, step, ""});
    const bool other_prompt = near != replies_.end() && std::get<0>(near->first) == kind &&
                              std::get<1>(near->first) == id && std::get<2>(near->first) == step;
    Fail(Exit::kData, file_, ": no text of kind ", kind, ", id ", id, ", step ", step,
         ", prompt_sha256 ", prompt,
         other_prompt ? " (there is one for another prompt: its record, history or domain differs)"
                      : "",
         "; generate it for this prompt and add its record, or set rationales.backend to TEMPLATE");
  }

  std::string file_;
  std::map<Key, Reply> replies_;
};

}  // namespace

std::unique_ptr<Generator> MakeReplay(const std::filesystem::path& jsonl) {
  return std::make_unique<Replay>(jsonl);
}

}  // namespace whyrec::gen
