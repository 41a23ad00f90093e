// Watches asynchronous operations that complete in the order in which they were started, and
// reports one that does not complete in time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace whyrec::cluster {

class Watchdog {
 public:
  // All callbacks run on the watchdog's thread: `begin` once at the start; `look` regularly;
  // `expire(text, seconds)` when the oldest operation has not completed within its `seconds` since
  // the one before it did. An exception from `look` is reported as expire(text + what, 0).
  Watchdog(std::function<void()> begin, std::function<void()> look,
           std::function<void(const std::string&, double)> expire);
  ~Watchdog();

  struct Entry {
    std::string text;
    double seconds = 0;
    std::function<bool()> over = {};  // empty: not before Attach
  };
  using Id = std::shared_ptr<Entry>;
  Id Begin(std::string text, double seconds);
  void Attach(const Id& id, std::function<bool()> over);
  // Waits until nothing is under way.
  void Drain();

 private:
  void Work();

  const std::function<void()> begin_, look_;
  const std::function<void(const std::string&, double)> expire_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Id> entries_;
  std::chrono::steady_clock::time_point progress_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace whyrec::cluster
