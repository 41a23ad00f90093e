#include "src/eval/table.h"

#include <gtest/gtest.h>

#include "src/base/error.h"

namespace whyrec::eval {
namespace {

TEST(Table, MarkdownOfTwoRows) {
  Table table({"system", "HR@5"});
  table.Add({"popularity", Fixed(.00734)});
  table.Add({"naïve | b", "-"});
  EXPECT_EQ(table.Markdown(),
            "| system     |   HR@5 |\n"
            "| ---------- | -----: |\n"
            "| popularity | 0.0073 |\n"
            "| naïve \\| b |      - |\n");
  EXPECT_THROW(table.Add({"one cell"}), Error);
}

}  // namespace
}  // namespace whyrec::eval
