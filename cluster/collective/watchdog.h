// Watches operations that end by themselves, in the order in which they began, and tells when one
// does not.
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
  // All on a thread of its own: `begin` once; then `expire(text, seconds)`, when the operation at
  // the head has not ended within its seconds since the one before it did; an error that
  // `look` throws counts as the end of hope too: expire(text + what, 0).
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
