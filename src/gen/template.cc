// The TEMPLATE back end: texts made from the facts by fixed rules, for tests and for runs without a
// language model.
#include "src/gen/generator.h"
#include "src/gen/template_texts.h"
#include "src/gen/words.h"

namespace whyrec::gen {
namespace {

class Template final : public Generator {
 public:
  explicit Template(uint64_t seed) : seed_(seed) {}
  std::string name() const override { return "template"; }

  std::vector<Reply> Generate(const std::vector<Request>& requests, const TextSampling&) override {
    std::vector<Reply> replies;
    for (const Request& request : requests) {
      const bool chain = request.kind == "item" || request.kind == "user";
      Reply reply{.text = chain ? IsrfTemplate(request) : PulseTemplate(request, seed_),
                  .model = name(),
                  .seed = seed_};
      reply.tokens_in = WordCount(request.prompt);
      reply.tokens_out = WordCount(reply.text);
      replies.push_back(std::move(reply));
    }
    return replies;
  }

 private:
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Generator> MakeTemplate(uint64_t seed) { return std::make_unique<Template>(seed); }

}  // namespace whyrec::gen
