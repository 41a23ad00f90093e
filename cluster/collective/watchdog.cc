#include "cluster/collective/watchdog.h"

#include <exception>

namespace whyrec::cluster {

Watchdog::Watchdog(std::function<void()> begin, std::function<void()> look,
                   std::function<void(const std::string&, double)> expire)
    : begin_(std::move(begin)), look_(std::move(look)), expire_(std::move(expire)) {
  thread_ = std::thread([this] { Work(); });
}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

Watchdog::Id Watchdog::Begin(std::string text, double seconds) {
  auto entry = std::make_shared<Entry>(Entry{std::move(text), seconds});
  std::lock_guard lock(mutex_);
  if (entries_.empty()) progress_ = std::chrono::steady_clock::now();
  entries_.push_back(entry);
  changed_.notify_all();
  return entry;
}

void Watchdog::Attach(const Id& id, std::function<bool()> over) {
  std::lock_guard lock(mutex_);
  id->over = std::move(over);
}

void Watchdog::Drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return entries_.empty(); });
}

void Watchdog::Work() {
  using Clock = std::chrono::steady_clock;
  std::unique_lock lock(mutex_);
  try {
    begin_();
    while (true) {
      changed_.wait(lock, [&] { return closed_ || !entries_.empty(); });
      if (closed_) return;
      while (!entries_.empty() && entries_.front()->over && entries_.front()->over()) {
        entries_.pop_front();
        progress_ = Clock::now();
        changed_.notify_all();
      }
      if (!entries_.empty()) {
        look_();
        const Id head = entries_.front();
        const std::chrono::duration<double> waited = Clock::now() - progress_;
        if (waited.count() > head->seconds) return expire_(head->text, head->seconds);
      }
      changed_.wait_for(lock, std::chrono::milliseconds(2), [&] { return closed_; });
    }
  } catch (const std::exception& e) {
    expire_((entries_.empty() ? "" : entries_.front()->text) + e.what(), 0);
  }
}

}  // namespace whyrec::cluster
