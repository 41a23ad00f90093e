// Runs a communicator's asynchronous operations one after the other on its own thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "cluster/collective/communicator.h"

namespace whyrec::cluster {

class Queue {
 public:
  Queue() = default;
  ~Queue() { Join(); }
  Queue(const Queue&) = delete;

  // Runs after the jobs before it. Once a job has failed, all later ones fail with its exception.
  std::unique_ptr<Pending> Start(std::function<void()> work);
  // Returns when all jobs are over; throws what the first failed one threw.
  void Drain();
  // No further jobs; runs those that have been started.
  void Join();

 private:
  struct Job;
  struct Handle;
  void Work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> jobs_;  // the first is at work
  std::exception_ptr failure_;
  bool closed_ = false;
  std::thread thread_;  // from the first Start on
};

}  // namespace whyrec::cluster
