#include "src/gen/reason_tree.h"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.h"

namespace whyrec::gen {
namespace {

std::vector<ReasonTree> Trees() {
  ReasonNode base{.path = "base", .text = std::string("a \0 b", 5), .parse = "json", .tokens = 12};
  base.log_likelihood = -1.25f;
  ReasonNode child{.parent = 0, .level = 1, .path = "base/2", .text = "ünï", .model = "m"};
  child.score = 0.1;
  child.record = "{\"raw\": \"x\"}";
  return {{{base, child}, 2, {"{}", ""}}, {}, {{base}, 1}};
}

TEST(PackedTrees, ComeBackToTheLastBit) {
  const auto trees = Trees();
  const std::string bytes = Pack(trees);
  const auto read = UnpackTrees(bytes);
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0].levels, 2);
  EXPECT_EQ(read[0].nodes[0].text.size(), 5u);
  EXPECT_EQ(read[0].nodes[1].text, "ünï");
  EXPECT_EQ(read[0].nodes[1].path, "base/2");
  EXPECT_EQ(read[0].nodes[1].parent, 0);
  EXPECT_EQ(read[0].nodes[1].level, 1);
  EXPECT_EQ(read[0].nodes[1].score, 0.1);
  EXPECT_EQ(read[0].nodes[0].log_likelihood, -1.25f);
  EXPECT_EQ(read[0].nodes[0].tokens, 12);
  EXPECT_TRUE(std::isnan(read[0].nodes[0].score));
  EXPECT_EQ(read[0].nodes[1].record, trees[0].nodes[1].record);
  EXPECT_EQ(read[0].repeated, trees[0].repeated);
  EXPECT_EQ(read[1].levels, 0);
  EXPECT_EQ(Pack(read), bytes);
  EXPECT_TRUE(UnpackTrees(Pack({})).empty());
}

bool Refused(const std::string& bytes) {
  try {
    UnpackTrees(bytes);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::kData) << e.what();
    return true;
  }
  return false;
}

TEST(PackedTrees, MalformedBytesAreRefused) {
  const std::string bytes = Pack(Trees());
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_TRUE(Refused(bytes.substr(0, n))) << n;
  EXPECT_TRUE(Refused(bytes + "x"));
  EXPECT_TRUE(Refused("whyrec trees 1\n" + bytes.substr(15)));
  for (const auto& [parent, level] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {-2, 1}, {0, 2}, {0, -1}}) {
    auto trees = Trees();
    trees[0].nodes[1].parent = parent;
    trees[0].nodes[1].level = level;
    EXPECT_TRUE(Refused(Pack(trees))) << parent << " " << level;
  }
}

// Any one byte changed: refused or read, never more memory than the bytes can hold.
TEST(PackedTrees, AnyChangedByteEnds) {
  const std::string bytes = Pack(Trees());
  for (size_t n = 0; n < bytes.size(); ++n)
    for (const char c : {'\0', '\x7f', '\xff'}) {
      std::string changed = bytes;
      changed[n] = c;
      Refused(changed);
    }
}

}  // namespace
}  // namespace whyrec::gen
