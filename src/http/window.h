// How many requests a server gets at a time: grows by one per window of successes and halves when
// the server says it is overloaded (additive increase, multiplicative decrease).
#pragma once

#include <algorithm>
#include <cstdint>

namespace whyrec::http {

class Window {
 public:
  explicit Window(int64_t start) : size_(static_cast<double>(start)) {}
  int64_t size() const { return static_cast<int64_t>(size_); }
  int64_t number() const { return number_; }  // of windows so far; a request remembers it

  // A window that was not full says nothing about a larger one.
  void Success(int64_t under_way) {
    if (under_way >= size()) size_ = std::min(size_ + 1 / size_, kMost);
  }
  // Requests of one window are refused together: that halves it once.
  void TooMuch(int64_t number) {
    if (number != number_) return;
    size_ = std::max(1.0, size_ / 2);
    ++number_;
  }

 private:
  static constexpr double kMost = 4096;
  double size_;
  int64_t number_ = 0;
};

}  // namespace whyrec::http
