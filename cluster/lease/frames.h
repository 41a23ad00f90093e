// Messages on a byte stream: each side begins with eight fixed bytes, then frames of a length
// (four bytes, little-endian) and as many bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace whyrec::cluster {

inline constexpr std::string_view kPreamble = "wrwire1\n";
constexpr size_t kMostFrame = 8 << 20;       // between parties that know each other
constexpr size_t kMostStrangerFrame = 4096;  // before the token was right

std::string Frame(std::string_view message);

class FrameReader {
 public:
  explicit FrameReader(size_t limit) : limit_(limit) {}
  void set_limit(size_t limit) { limit_ = limit; }
  void Feed(std::string_view bytes) { buffer_ += bytes; }

  enum class Got { kFrame, kMore, kBroken };
  // kBroken: no preamble of ours, or a frame above the limit; problem() says it. Nothing follows.
  Got Next(std::string& message);
  const std::string& problem() const { return problem_; }

 private:
  size_t limit_;
  std::string buffer_;
  size_t at_ = 0;  // of the next byte in the buffer
  bool greeted_ = false;
  std::string problem_;
};

}  // namespace whyrec::cluster
