#include "cluster/collective/queue.h"

namespace whyrec::cluster {

struct Queue::Job {
  std::function<void()> work;
  bool over = false;
  std::exception_ptr failure;
};

struct Queue::Handle final : Pending {
  Handle(Queue& queue, std::shared_ptr<Job> job) : queue(queue), job(std::move(job)) {}
  ~Handle() override { Settle(); }
  void Settle() {
    std::unique_lock lock(queue.mutex_);
    queue.changed_.wait(lock, [&] { return job->over; });
  }
  void Wait() override {
    Settle();
    if (job->failure) std::rethrow_exception(job->failure);
  }
  Queue& queue;
  std::shared_ptr<Job> job;
};

std::unique_ptr<Pending> Queue::Start(std::function<void()> work) {
  auto job = std::make_shared<Job>(std::move(work));
  std::lock_guard lock(mutex_);
  jobs_.push_back(job);
  if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  changed_.notify_all();
  return std::make_unique<Handle>(*this, std::move(job));
}

void Queue::Drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty(); });
  if (failure_) std::rethrow_exception(failure_);
}

void Queue::Join() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Queue::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return !jobs_.empty() || closed_; });
    if (jobs_.empty()) return;
    const std::shared_ptr<Job> job = jobs_.front();
    if (!failure_) {
      lock.unlock();
      std::exception_ptr failure;
      try {
        job->work();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      failure_ = failure;
    }
    job->failure = failure_;
    job->over = true;
    jobs_.pop_front();
    changed_.notify_all();
  }
}

}  // namespace whyrec::cluster
