// Frames cut at every place, and what is no frame of ours.
#include "cluster/lease/frames.h"

#include <gtest/gtest.h>

namespace whyrec::cluster {
namespace {

using Got = FrameReader::Got;

TEST(Frames, ArriveWholeHoweverTheyAreCut) {
  const std::string messages[] = {"", "one", std::string(300, 'x')};
  std::string stream(kPreamble);
  for (const auto& message : messages) stream += Frame(message);
  for (size_t step = 1; step <= stream.size(); ++step) {
    FrameReader reader(1000);
    std::vector<std::string> out;
    for (size_t at = 0; at < stream.size(); at += step) {
      reader.Feed(std::string_view(stream).substr(at, step));
      for (std::string message; reader.Next(message) == Got::kFrame;) out.push_back(message);
    }
    EXPECT_EQ(out, (std::vector<std::string>(std::begin(messages), std::end(messages)))) << step;
    EXPECT_EQ(reader.problem(), "");
  }
}

TEST(Frames, TheLimitIsExact) {
  std::string message;
  FrameReader reader(10);
  reader.Feed(std::string(kPreamble) + Frame(std::string(10, 'x')) + Frame(std::string(11, 'x')));
  EXPECT_EQ(reader.Next(message), Got::kFrame);
  EXPECT_EQ(reader.Next(message), Got::kBroken);
  EXPECT_EQ(reader.Next(message), Got::kBroken);
  EXPECT_EQ(reader.problem(), "a frame of 11 bytes; 10 are allowed");
}

TEST(Frames, AnotherProtocolIsNoticedAtItsFirstByte) {
  std::string message;
  for (const std::string begin : {"G", "wrwire2\n", "wrwirf"}) {
    FrameReader reader(10);
    reader.Feed(begin);
    EXPECT_EQ(reader.Next(message), Got::kBroken) << begin;
  }
}

}  // namespace
}  // namespace whyrec::cluster
