#include "cluster/lease/frames.h"

#include "src/base/error.h"

namespace whyrec::cluster {

std::string Frame(std::string_view message) {
  WR_CHECK(message.size() <= kMostFrame, message.size());
  std::string out;
  out.reserve(4 + message.size());
  const auto length = static_cast<uint32_t>(message.size());
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(length >> shift & 0xff);
  out += message;
  return out;
}

FrameReader::Got FrameReader::Next(std::string& message) {
  if (!problem_.empty()) return Got::kBroken;
  if (!greeted_) {
    const auto begin = std::string_view(buffer_).substr(0, kPreamble.size());
    if (!kPreamble.starts_with(begin)) {
      problem_ = "the other side uses another protocol";
      return Got::kBroken;
    }
    if (begin.size() < kPreamble.size()) return Got::kMore;
    greeted_ = true;
    at_ = kPreamble.size();
  }
  const auto rest = std::string_view(buffer_).substr(at_);
  size_t length = 0;
  if (rest.size() >= 4)
    for (size_t i = 4; i > 0; --i) length = length << 8 | static_cast<unsigned char>(rest[i - 1]);
  if (rest.size() >= 4 && length > limit_) {
    problem_ = Cat("a frame of ", length, " bytes; ", limit_, " are allowed");
    return Got::kBroken;
  }
  if (rest.size() < 4 || rest.size() < 4 + length) {
    buffer_.erase(0, at_);
    at_ = 0;
    return Got::kMore;
  }
  message = rest.substr(4, length);
  at_ += 4 + length;
  return Got::kFrame;
}

}  // namespace whyrec::cluster
