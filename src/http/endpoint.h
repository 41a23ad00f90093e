// One server: how requests are worded for it, what its answers mean, and whether it still serves
// the same model.
#pragma once

#include <utility>  // before awaitable.hpp of Boost 1.74, which lacks it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <string>
#include <vector>

#include "src/base/error.h"
#include "src/http/client.h"
#include "src/http/http.h"
#include "src/http/json.h"

namespace whyrec::http {

// The outcome of one request.
struct Attempt {
  enum class Verdict {
    kDone,
    kAgain,    // retry later
    kTooMuch,  // retry later, with fewer requests at a time
    kNever,    // the request or the configuration is wrong: ends the run
    kGone      // do not use this server any more: bad certificate, another model
  };
  Verdict verdict = Verdict::kDone;
  std::string why;
  Exit code = Exit::kUnavailable;  // of kNever
  double wait_s = 0;               // seconds to wait, if the server says (Retry-After)
  bool for_good = false;           // with kGone: the server has another model now
  bool unreachable = false;        // no connection: the server may be restarting with another model
  std::string body;
  Completion completion;
};

// Thrown when a server cannot be used; `for_good`: do not try again later.
struct EndpointGone {
  std::string why;
  bool for_good = false;
};

class Endpoint {
 public:
  Endpoint(boost::asio::io_context& io, const Options& options, const std::string& url);

  // The first time: reads the model list, sends a long prompt to detect silent truncation, and
  // takes the fingerprint (answers to fixed prompts). Later: checks that the fingerprint is
  // unchanged. Throws EndpointGone, or Error when no retry can help.
  boost::asio::awaitable<void> Examine();
  // Finds out, once, whether the server honours top_k: with top_k 1 two draws must be equal.
  boost::asio::awaitable<void> TestTopK();
  boost::asio::awaitable<Attempt> Try(const gen::Request& request,
                                      const gen::TextSampling& sampling);
  // 0 before the first retry. Jittered, keyed by `what`.
  double WaitOf(const std::string& what, int64_t retry) const;

  bool examined() const { return !greedy_.empty(); }
  const std::string& model() const { return model_; }
  const std::string& url() const { return client_.url().text; }
  // What is done instead of the sampling asked for; empty: nothing.
  std::string SamplingDiffers(const gen::TextSampling& sampling) const;

  void Abort();  // what is under way comes back at once
  void Resume() { client_.Resume(); }

 private:
  using Coroutine = boost::asio::awaitable<void>;
  boost::asio::awaitable<Attempt> TryOnce(std::string path, std::string body, double first_byte_s);
  // Until it is answered; EndpointGone after the retries, Error for kNever.
  boost::asio::awaitable<Attempt> Insist(std::string path, std::string body, double first_byte_s,
                                         std::string what);
  boost::asio::awaitable<Attempt> Insist(const gen::Request& request,
                                         const gen::TextSampling& sampling, double more_s);
  void CheckCompletion(const gen::Request& request, Attempt& tried) const;
  Coroutine ReadList();
  Coroutine SendCanary();
  Coroutine Fingerprint();
  std::string Hidden(std::string text) const;  // without the key

  const Options& options_;
  Client client_;
  boost::asio::steady_timer timer_;
  std::string asked_, model_, entry_;  // asked for, answered with, and its place in the list
  std::vector<std::string> greedy_;    // answers to the fixed prompts
  int64_t taken_ = 0;                  // tokens of the canary
  bool counts_ = true;                 // it says how long prompts are
  enum class TopK { kUnknown, kTaken, kRefused, kIgnored } top_k_ = TopK::kUnknown;
};

}  // namespace whyrec::http
