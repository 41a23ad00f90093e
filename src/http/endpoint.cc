#include "src/http/endpoint.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cmath>

#include "src/base/log.h"
#include "src/base/rng.h"

namespace whyrec::http {
namespace {

namespace asio = boost::asio;
using Verdict = Attempt::Verdict;
using Trouble = RawResponse::Trouble;

constexpr double kConnect = 10, kPerToken = 0.05;         // s
constexpr double kLongestWait = 30, kLongestAsked = 600;  // s: ours, and what a server may ask for
constexpr int64_t kCanaryTokens = 3500, kTemplateTokens = 64;
constexpr const char* kHowMuchContext =
    "give it more context (Ollama: OLLAMA_CONTEXT_LENGTH or num_ctx; vLLM: --max-model-len; "
    "llama.cpp: -c, which its slots share)";
constexpr const char* kFixedPrompts[] = {"Name three colours.", "Continue: one, two, three,",
                                         "Say in a few words what a gift is."};

gen::Request Question(const char* step, std::string prompt) {
  return {.kind = "check", .id = 0, .step = step, .prompt = std::move(prompt), .facts = ""};
}

// Advice for errors that a retry cannot change.
std::string Remedy(int status, const std::string& body) {
  if (status == 401 || status == 403)
    return "; put its key into the environment variable that rationales.http.key_variable names";
  if (status == 404) return "; set rationales.http.endpoint, model and route to what it knows";
  if (body.find("context") != body.npos || status == 413) return Cat("; ", kHowMuchContext);
  return "";
}

bool Names(const std::string& text, const char* word) { return text.find(word) != text.npos; }

}  // namespace

Endpoint::Endpoint(asio::io_context& io, const Options& options, const std::string& url)
    : options_(options),
      client_(io, ParseUrl(url), options.key),
      timer_(io),
      asked_(options.model) {}

std::string Endpoint::Hidden(std::string text) const {
  const std::string& key = options_.key;
  if (key.empty()) return text;
  for (size_t at = 0; (at = text.find(key, at)) != text.npos;)
    text.replace(at, key.size(), "[key]");
  return text;
}

double Endpoint::WaitOf(const std::string& what, int64_t retry) const {
  const double wait = std::min(options_.first_wait_s * std::exp2(retry), kLongestWait);
  return wait * (0.5 + 0.5 * Rng(options_.seed, "wait of " + what + url(), retry).Uniform());
}

std::string Endpoint::SamplingDiffers(const gen::TextSampling& sampling) const {
  if (sampling.top_k <= 0 || sampling.temperature <= 0) return "";
  if (top_k_ == TopK::kRefused) return "no top_k (refused)";
  return top_k_ == TopK::kIgnored ? "no top_k (ignored)" : "";
}

void Endpoint::Abort() {
  client_.Abort();
  timer_.cancel();
}

asio::awaitable<Attempt> Endpoint::TryOnce(std::string path, std::string body,
                                           double first_byte_s) {
  RawRequest question{.path = path,
                      .body = std::move(body),
                      .connect_s = std::min(kConnect, options_.timeout_s),
                      .first_byte_s = first_byte_s,
                      .total_s = first_byte_s + options_.timeout_s};
  RawResponse answer = co_await client_.Ask(std::move(question));
  Attempt tried;
  tried.why = Hidden(answer.why);
  tried.body = Hidden(std::move(answer.body));  // all of it: what is quoted is cut
  switch (answer.trouble) {
    case Trouble::kNone:
      break;
    case Trouble::kCertificate:
      tried.verdict = Verdict::kGone;
      co_return tried;
    case Trouble::kSilent:
      tried.verdict = Verdict::kTooMuch;
      co_return tried;
    default:
      tried.verdict = Verdict::kAgain;
      tried.unreachable = answer.trouble == Trouble::kNoConnection;
      co_return tried;
  }
  const int status = answer.status;
  if (status == 200) co_return tried;
  tried.why = Cat("status ", status, " for ", path, ", ", Hidden(ServerText(tried.body)));
  if (status == 408 || status == 409 || status == 429 || status >= 500) {
    tried.verdict = status == 429 || status == 503 ? Verdict::kTooMuch : Verdict::kAgain;
    tried.unreachable = status == 502 || status == 504;  // a proxy cannot reach the server
    const auto now = std::chrono::system_clock::now();
    tried.wait_s = RetryAfterSeconds(answer.retry_after, now).value_or(0);
    if (tried.wait_s > kLongestAsked) {
      tried.verdict = Verdict::kGone;
      tried.why += Cat(", and asks to wait ", std::llround(tried.wait_s), " s");
    }
    co_return tried;
  }
  tried.verdict = Verdict::kNever;
  tried.why += Remedy(status, tried.body);
  tried.code = status == 400 || status == 413 || status == 422 ? Exit::kData : Exit::kUsage;
  co_return tried;
}

asio::awaitable<Attempt> Endpoint::Insist(std::string path, std::string body, double first_byte_s,
                                          std::string what) {
  for (int64_t retry = 0;; ++retry) {
    Attempt tried = co_await TryOnce(path, body, first_byte_s);
    if (tried.verdict == Verdict::kDone && !what.empty()) {
      tried.completion = ReadCompletion(options_.chat, tried.body);
      if (!tried.completion.problem.empty()) {
        tried.verdict = Verdict::kAgain;
        tried.why = Hidden(tried.completion.problem);
      }
    }
    if (tried.verdict == Verdict::kDone || tried.verdict == Verdict::kNever) co_return tried;
    if (tried.verdict == Verdict::kGone || client_.aborted()) throw EndpointGone{tried.why};
    if (retry == options_.retries) throw EndpointGone{Cat(tried.why, ", ", retry + 1, " tries")};
    const double wait = std::max(WaitOf(path, retry), tried.wait_s);
    timer_.expires_after(std::chrono::milliseconds(static_cast<int64_t>(1000 * wait)));
    boost::system::error_code cut;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, cut));
    if (client_.aborted()) throw EndpointGone{tried.why};
  }
}

asio::awaitable<Attempt> Endpoint::Insist(const gen::Request& request,
                                          const gen::TextSampling& sampling, double more_s) {
  const Wording wording{options_.chat, top_k_ != TopK::kRefused, asked_};
  const double limit =
      options_.timeout_s + more_s + kPerToken * static_cast<double>(sampling.max_new_tokens);
  co_return co_await Insist(
      RouteOf(options_.chat),
      CompletionBody(wording, request, sampling, SeedOf(options_.seed, request)), limit,
      request.Name());
}

asio::awaitable<void> Endpoint::Examine() {
  const bool first = !examined();
  co_await ReadList();
  if (first) co_await SendCanary();
  co_await Fingerprint();
}

asio::awaitable<void> Endpoint::ReadList() {
  const Attempt tried = co_await Insist("/models", "", options_.timeout_s, "");
  if (tried.verdict == Verdict::kNever && !Names(tried.why, "status 404"))
    Fail(tried.code, url(), ": ", tried.why);
  const auto models = ReadModels(tried.body);
  std::string entry, all;
  if (models) {
    for (const auto& model : *models) {
      all += (all.empty() ? "" : ", ") + model.id;
      if (model.id == asked_ || (asked_.empty() && models->size() == 1)) entry = model.entry;
    }
    if (asked_.empty() && models->size() == 1) asked_ = models->front().id;
  }
  if (asked_.empty())
    Fail(Exit::kUsage, url(), " ", models ? "lists the models " + all : "lists no models",
         "; set rationales.http.model");
  if (examined() && entry != entry_)
    throw EndpointGone{Cat("it now lists ", entry.empty() ? all : entry, " instead of ", entry_),
                       true};
  entry_ = entry;
}

asio::awaitable<void> Endpoint::SendCanary() {
  const int64_t tokens = options_.context > 0 ? options_.context : kCanaryTokens;
  const int64_t words = std::max<int64_t>(8, tokens - kTemplateTokens);
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const gen::Request canary = Question("canary", CanaryPrompt(words, static_cast<uint64_t>(now)));
  // Reading the prompt may take as long as writing one, and the model may have to be loaded.
  const Attempt tried = co_await Insist(canary, {.temperature = 0, .max_new_tokens = 1},
                                        kPerToken * static_cast<double>(tokens));
  if (tried.verdict == Verdict::kNever)
    Fail(tried.code, url(), ": ", tried.why, " (asked with a prompt of ", words,
         " words; rationales.http.context sets how long it is)");
  counts_ = tried.completion.tokens_in > 0;
  if (!counts_) Warn(url() + " does not say how many tokens it read, so it may cut prompts unseen");
  taken_ = tried.completion.tokens_in;
  if (counts_ && taken_ < words)
    Fail(Exit::kData, url(), " read ", taken_, " tokens of a prompt with ", words,
         " words, so it cuts prompts silently: ", kHowMuchContext,
         ", or set rationales.http.context to what your prompts need");
}

asio::awaitable<void> Endpoint::Fingerprint() {
  std::vector<std::string> greedy;
  std::string model;
  for (const char* prompt : kFixedPrompts) {
    const Attempt tried = co_await Insist(Question("fingerprint", prompt),
                                          {.temperature = 0, .max_new_tokens = 8}, 0);
    if (tried.verdict == Verdict::kNever) Fail(tried.code, url(), ": ", tried.why);
    greedy.push_back(tried.completion.text);
    model = tried.completion.model;
  }
  if (!examined()) {
    greedy_ = greedy;
    model_ = model.empty() ? asked_ : model;
    co_return;
  }
  if (!model.empty() && model != model_)
    throw EndpointGone{Cat("it now answers as ", model, " instead of ", model_), true};
  // One of the greedy answers may change by rounding when the server batches differently.
  size_t differ = 0, which = 0;
  for (size_t i = 0; i < greedy.size(); ++i)
    if (greedy[i] != greedy_[i]) ++differ, which = i;
  if (differ >= 2)
    throw EndpointGone{
        Cat("under the name ", model_, " it now answers \"", Hidden(greedy[which]),
            "\" instead of \"", Hidden(greedy_[which]), "\" to \"", kFixedPrompts[which], "\""),
        true};
}

asio::awaitable<void> Endpoint::TestTopK() {
  if (top_k_ != TopK::kUnknown) co_return;
  gen::Request request = Question("top_k", "Write any words that come to your mind.");
  const gen::TextSampling hot{.temperature = 2, .top_k = 1, .max_new_tokens = 16};
  const Attempt one = co_await Insist(request, hot, 0);
  if (one.verdict == Verdict::kNever && one.code == Exit::kData && Names(one.why, "top_k")) {
    top_k_ = TopK::kRefused;
  } else if (one.verdict == Verdict::kNever) {
    Fail(one.code, url(), ": ", one.why);
  } else {
    request.attempt = 1;  // another seed
    const Attempt two = co_await Insist(request, hot, 0);
    if (two.verdict == Verdict::kNever) Fail(two.code, url(), ": ", two.why);
    top_k_ = one.completion.text == two.completion.text ? TopK::kTaken : TopK::kIgnored;
  }
  if (top_k_ != TopK::kTaken)
    Warn(Cat(url(), top_k_ == TopK::kRefused ? " refuses" : " ignores",
             " top_k; its texts are marked so"));
}

asio::awaitable<Attempt> Endpoint::Try(const gen::Request& request,
                                       const gen::TextSampling& sampling) {
  const Wording wording{options_.chat, top_k_ != TopK::kRefused, asked_};
  Attempt tried = co_await TryOnce(
      RouteOf(options_.chat),
      CompletionBody(wording, request, sampling, SeedOf(options_.seed, request)),
      options_.timeout_s + kPerToken * static_cast<double>(sampling.max_new_tokens));
  if (tried.verdict == Verdict::kDone) {
    tried.completion = ReadCompletion(options_.chat, tried.body);
    CheckCompletion(request, tried);
  }
  co_return tried;
}

void Endpoint::CheckCompletion(const gen::Request& request, Attempt& tried) const {
  const Completion& completion = tried.completion;
  if (!completion.problem.empty()) {
    tried.verdict = Verdict::kAgain;
    tried.why = Hidden(completion.problem);
  } else if (!completion.model.empty() && completion.model != model_) {
    tried.verdict = Verdict::kGone;
    tried.for_good = true;
    tried.why = Cat("it now answers as ", completion.model, " instead of ", model_);
  } else if (counts_ && completion.tokens_in > 0 && completion.tokens_in < FewestTokens(request)) {
    tried.verdict = Verdict::kNever;
    tried.code = Exit::kData;
    tried.why =
        Cat("read ", completion.tokens_in, " tokens of a prompt with ", FewestTokens(request),
            " words, so it cuts prompts silently: ", kHowMuchContext);
  }
}

}  // namespace whyrec::http
