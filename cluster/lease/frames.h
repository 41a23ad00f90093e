// Messages on a byte stream: each side starts with eight fixed bytes, followed by frames. A frame
// is its length (four bytes, little-endian) and that many bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace whyrec::cluster {

inline constexpr std::string_view kPreamble = "wrwire1\n";
constexpr size_t kMostFrame = 8 << 20;       // bytes, from a peer that has sent the right token
constexpr size_t kMostStrangerFrame = 4096;  // bytes, before that

std::string Frame(std::string_view message);

class FrameReader {
 public:
  explicit FrameReader(size_t limit) : limit_(limit) {}
  void set_limit(size_t limit) { limit_ = limit; }
  void Feed(std::string_view bytes) { buffer_ += bytes; }

  enum class Got { kFrame, kMore, kBroken };
  // kBroken: wrong first bytes, or a frame above the limit; problem() says which. Stop reading
  // then.
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
