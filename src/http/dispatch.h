// Distributes requests over servers: how many at a time, waits before retries, fail-over.
#pragma once

#include <utility>  // before awaitable.hpp of Boost 1.74, which lacks it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "src/http/endpoint.h"
#include "src/http/ring.h"
#include "src/http/window.h"

namespace whyrec::http {

class Dispatch {
 public:
  explicit Dispatch(const Options& options);

  // Examines new endpoints and those that failed some time ago. Throws when none is usable.
  void Prepare();
  const std::string& model() const { return model_; }  // after Prepare
  std::vector<gen::Reply> Run(const std::vector<gen::Request>& requests,
                              const gen::TextSampling& sampling);

 private:
  using Clock = std::chrono::steady_clock;
  using Coroutine = boost::asio::awaitable<void>;

  struct Job {
    const gen::Request* request = nullptr;
    gen::Reply* reply = nullptr;
    int64_t tries = 0;  // at the present endpoint
    Clock::time_point not_before = {};
  };
  struct Lane {  // one endpoint and what waits for it
    Lane(boost::asio::io_context& io, const Options& options, const std::string& url)
        : endpoint(io, options, url), window(options.window), wake(io) {}
    Endpoint endpoint;
    Window window;
    std::deque<Job> queue;
    int64_t under_way = 0;
    Clock::time_point pause_until = {}, examined_at = {}, lost_at = {};
    bool suspect = true;  // to be examined before it is asked more
    bool lost = false, for_good = false;
    std::string why;  // lost
    boost::asio::steady_timer wake;
  };

  void RunAll(Coroutine (Dispatch::*work)(Lane&));
  Coroutine ExamineLane(Lane& lane);
  Coroutine Serve(Lane& lane);  // until all jobs are done or the lane is lost
  Coroutine Send(Lane& lane, Job job);
  void Launch(Lane& lane);
  void Finish(Lane& lane, const Job& job, const Attempt& tried);
  void Postpone(Lane& lane, Job job, const Attempt& tried);
  void Lose(Lane& lane, const EndpointGone& gone);
  void Place(const Job& job, bool in_front);
  void Stop(std::exception_ptr why);
  Clock::time_point NextTime(const Lane& lane) const;
  [[noreturn]] void FailUnavailable() const;

  const Options options_;
  boost::asio::io_context io_;
  Ring ring_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::string model_;
  gen::TextSampling sampling_;
  size_t left_ = 0;  // jobs without a reply
  bool over_ = false;
  std::exception_ptr failure_;
};

}  // namespace whyrec::http
