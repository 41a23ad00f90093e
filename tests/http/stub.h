// A server with OpenAI's interface that misbehaves as told. A thread per connection, HTTP read by
// hand: nothing is shared with the client under test. It keeps every question for the test.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "src/base/error.h"
#include "src/http/http.h"

namespace whyrec::http {

using Json = nlohmann::json;

struct StubQuestion {
  std::string path, authorization, prompt;  // prompt: of the user's turn, or of /completions
  Json body;
  int64_t nth = 0;  // how often this prompt came before
  std::chrono::steady_clock::time_point at;
};

struct StubAnswer {
  int status = 200;
  std::string body;
  std::string headers = {};  // "Retry-After: 1\r\n"
  double delay_s = 0;        // before a byte
  enum class Cut { kNone, kBefore, kAmid, kStallAmid } cut = Cut::kNone;
  bool close = false;  // after it, without a word in the header
};

class Stub {
 public:
  using Handler = std::function<std::optional<StubAnswer>(const StubQuestion&)>;

  // `handler` sees questions of the test (prompts that begin with "ask"); else the answer is usual.
  explicit Stub(Handler handler = {}, boost::asio::ssl::context* tls = nullptr)
      : handler_(std::move(handler)),
        tls_(tls),
        acceptor_(io_, {boost::asio::ip::make_address("127.0.0.1"), 0}),
        port_(acceptor_.local_endpoint().port()),
        thread_([this] { Accept(); }) {}
  ~Stub() { Kill(); }

  void Kill() {  // as a crash does: what is open breaks, nobody listens
    {
      std::lock_guard lock(mutex_);
      if (over_) return;
      over_ = true;
      for (auto* socket : open_) ::shutdown(socket->native_handle(), SHUT_RDWR);
    }
    wake_.notify_all();
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    thread_.join();
    for (auto& thread : connections_) thread.join();
    acceptor_.close();
  }

  std::string url() const { return Cat(tls_ ? "https" : "http", "://127.0.0.1:", port_, "/v1"); }
  uint16_t port() const { return port_; }

  std::vector<StubQuestion> asked() const {  // by the test, in order
    std::lock_guard lock(mutex_);
    std::vector<StubQuestion> asked;
    for (const auto& question : questions_)
      if (question.prompt.starts_with("ask")) asked.push_back(question);
    return asked;
  }
  std::vector<StubQuestion> questions() const {
    std::lock_guard lock(mutex_);
    return questions_;
  }
  int64_t connections() const { return connected_; }
  int64_t at_once() const { return at_once_; }
  int64_t most_at_once() const { return most_; }

  static int64_t Words(const std::string& text) {
    std::istringstream in(text);
    int64_t n = 0;
    for (std::string word; in >> word;) ++n;
    return n;
  }
  static std::string TextFor(const std::string& prompt) { return "answer to [" + prompt + "]"; }
  Json Usual(const StubQuestion& question) const {
    const std::string text = TextFor(question.prompt);
    Json choice{{"index", 0}, {"finish_reason", "stop"}};
    if (question.path == "/v1/completions")
      choice["text"] = text;
    else
      choice["message"] = {{"role", "assistant"}, {"content", text}};
    return {{"model", model},
            {"choices", {choice}},
            {"usage", {{"prompt_tokens", Words(question.prompt) + 7}, {"completion_tokens", 3}}}};
  }

  // What the usual answers say; changed by handlers only, which run one at a time.
  std::string model = "stub-1", root = "weights-1";
  Handler checks;  // canary, fingerprint, top_k and the list: first word here

 private:
  void Accept() {
    for (;;) {
      auto socket = std::make_shared<boost::asio::ip::tcp::socket>(io_);
      boost::system::error_code code;
      acceptor_.accept(*socket, code);
      std::lock_guard lock(mutex_);
      if (over_) return;
      if (code) continue;
      ++connected_;
      open_.push_back(socket.get());
      connections_.emplace_back([this, socket] {
        Serve(*socket);
        std::lock_guard lock(mutex_);
        std::erase(open_, socket.get());
        ::shutdown(socket->native_handle(), SHUT_RDWR);
      });
    }
  }

  void Serve(boost::asio::ip::tcp::socket& socket) {
    boost::system::error_code code;
    if (!tls_) return Talk(socket);
    boost::asio::ssl::stream<boost::asio::ip::tcp::socket&> stream(socket, *tls_);
    stream.handshake(boost::asio::ssl::stream_base::server, code);
    if (!code) Talk(stream);
  }

  template <typename Stream>
  void Talk(Stream& stream) {
    std::string buffer;
    for (;;) {
      boost::system::error_code code;
      auto head =
          boost::asio::read_until(stream, boost::asio::dynamic_buffer(buffer), "\r\n\r\n", code);
      if (code) return;
      StubQuestion question;
      std::istringstream lines(buffer.substr(0, head));
      std::string verb, line;
      lines >> verb >> question.path;
      size_t length = 0;
      while (std::getline(lines, line)) {
        if (line.starts_with("Content-Length: ")) length = std::stoul(line.substr(16));
        if (line.starts_with("Authorization: "))
          question.authorization = line.substr(15, line.size() - 16);
      }
      if (buffer.size() < head + length)
        boost::asio::read(stream, boost::asio::dynamic_buffer(buffer),
                          boost::asio::transfer_exactly(head + length - buffer.size()), code);
      if (code) return;
      if (length > 0) question.body = Json::parse(buffer.substr(head, length));
      buffer.erase(0, head + length);
      if (!Answer(stream, question)) return;
    }
  }

  // False when the connection ends here.
  template <typename Stream>
  bool Answer(Stream& stream, StubQuestion& question) {
    most_ = std::max<int64_t>(most_, ++at_once_);
    const StubAnswer answer = Decide(question);
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::duration<double>(answer.delay_s), [&] { return over_; });
      --at_once_;
      if (over_ || answer.cut == StubAnswer::Cut::kBefore) return false;
    }
    std::string out = Cat("HTTP/1.1 ", answer.status, " X\r\nContent-Type: application/json\r\n",
                          answer.headers, "Content-Length: ", answer.body.size(), "\r\n\r\n");
    const bool amid = answer.cut != StubAnswer::Cut::kNone;
    out += answer.body.substr(0, amid ? answer.body.size() / 2 : answer.body.size());
    boost::system::error_code code;
    boost::asio::write(stream, boost::asio::buffer(out), code);
    if (answer.cut == StubAnswer::Cut::kStallAmid) {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::seconds(20), [&] { return over_; });
    }
    return !code && !amid && !answer.close;
  }

  StubAnswer Decide(StubQuestion& question) {
    std::lock_guard lock(mutex_);
    question.at = std::chrono::steady_clock::now();
    if (question.body.contains("prompt"))
      question.prompt = question.body["prompt"];
    else if (question.body.contains("messages"))
      question.prompt = question.body["messages"].back()["content"];
    for (const auto& before : questions_) question.nth += before.prompt == question.prompt;
    questions_.push_back(question);
    const bool is_test = question.prompt.starts_with("ask");
    if (const auto& first = is_test ? handler_ : checks)
      if (auto answer = first(question)) return *answer;
    if (question.path == "/v1/models")
      return {.body =
                  Json{{"data", {{{"id", model}, {"root", root}, {"created", connected_.load()}}}}}
                      .dump()};
    return {.body = Usual(question).dump()};
  }

  Handler handler_;
  boost::asio::ssl::context* tls_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  uint16_t port_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<StubQuestion> questions_;
  std::vector<boost::asio::ip::tcp::socket*> open_;
  std::vector<std::thread> connections_;
  std::atomic<int64_t> connected_ = 0, at_once_ = 0, most_ = 0;
  bool over_ = false;
  std::thread thread_;
};

inline Options OptionsFor(const std::vector<const Stub*>& stubs) {
  Options options{.retries = 3, .timeout_s = 2, .context = 200, .seed = 5, .first_wait_s = 0.01};
  for (const auto* stub : stubs) options.endpoints.push_back(stub->url());
  return options;
}

inline gen::Request Ask(int64_t id, const std::string& step = "pos") {
  return {.kind = "item",
          .id = id,
          .step = step,
          .prompt = Cat("ask ", id, " ", step, " please"),
          .facts = ""};
}

inline std::vector<gen::Request> Asks(int64_t n) {
  std::vector<gen::Request> requests;
  for (int64_t i = 0; i < n; ++i) requests.push_back(Ask(i));
  return requests;
}

inline constexpr gen::TextSampling kShort{.max_new_tokens = 4};

// What the error says; "" when there is none.
inline std::string Problem(const Options& options, const std::vector<gen::Request>& requests,
                           Exit code, const gen::TextSampling& sampling = kShort) {
  try {
    MakeGenerator(options)->Generate(requests, sampling);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "";
}

}  // namespace whyrec::http
