#include <map>
#include <tuple>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/gen/generator.h"
#include "src/gen/record.h"

namespace whyrec::gen {
namespace {

class Replay final : public Generator {
 public:
  explicit Replay(const std::filesystem::path& jsonl) : file_(jsonl.string()) {
    RecordReader reader(jsonl);
    for (Record record; reader.Next(record);) {
      const Answer& answer = record.answer;
      const auto [at, is_new] = answers_.try_emplace(
          Key{record.kind, record.id, record.step, answer.prompt_sha256}, answer);
      if (!is_new && at->second.text != answer.text)
        Fail(Exit::kData, reader.place(), ": a second text for ", record.kind, " ", record.id, ", ",
             record.step, " and the same prompt; keep one of them");
    }
  }

  std::string name() const override { return "replay"; }

  std::vector<Answer> Generate(const std::vector<Request>& requests) override {
    std::vector<Answer> answers;
    for (const auto& request : requests) {
      const Key key{request.kind, request.id, request.step, Sha256Of(request.prompt)};
      const auto found = answers_.find(key);
      if (found == answers_.end()) FailMissing(key);
      answers.push_back(found->second);
    }
    return answers;
  }

 private:
  using Key = std::tuple<std::string, int64_t, std::string, std::string>;

  [[noreturn]] void FailMissing(const Key& key) const {
    const auto& [kind, id, step, prompt] = key;
    const auto near = answers_.lower_bound(Key{kind, id, step, ""});
    const bool other_prompt = near != answers_.end() && std::get<0>(near->first) == kind &&
                              std::get<1>(near->first) == id && std::get<2>(near->first) == step;
    Fail(Exit::kData, file_, ": no text of kind ", kind, ", id ", id, ", step ", step,
         ", prompt_sha256 ", prompt,
         other_prompt ? " (there is one for another prompt: its record, history or domain differs)"
                      : "",
         "; generate it for this prompt and add its record, or set rationales.backend to TEMPLATE");
  }

  std::string file_;
  std::map<Key, Answer> answers_;
};

}  // namespace

std::unique_ptr<Generator> MakeReplay(const std::filesystem::path& jsonl) {
  return std::make_unique<Replay>(jsonl);
}

}  // namespace whyrec::gen
