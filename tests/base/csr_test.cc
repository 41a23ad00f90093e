// Sparse matrices in compressed rows.
#include "src/base/csr.h"

#include <gtest/gtest.h>

namespace whyrec {
namespace {

TEST(Transpose, OfARectangle) {
  const Csr a{.columns = 3,
              .offsets = {0, 2, 2, 4},
              .indices = {0, 2, 2, 2},
              .values = {1, 2, 3, 4},
              .row_scale = {1, 2, 3},
              .column_scale = {10, 20, 30}};
  const Csr t = Transpose(a);
  EXPECT_EQ(t.columns, 3);
  EXPECT_EQ(t.offsets, (std::vector<int64_t>{0, 1, 1, 4}));
  EXPECT_EQ(t.indices, (std::vector<int32_t>{0, 0, 2, 2}));
  EXPECT_EQ(t.values, (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(a.Weight(2, 3), 3 * 4 * 30);
  EXPECT_EQ(t.Weight(2, 3), 3 * 4 * 30);
}

TEST(Transpose, OnesStayUnwritten) {
  const Csr t = Transpose({.columns = 2, .offsets = {0, 2}, .indices = {0, 1}});
  EXPECT_EQ(t.indices, (std::vector<int32_t>{0, 0}));
  EXPECT_TRUE(t.values.empty() && t.row_scale.empty() && t.column_scale.empty());
  EXPECT_EQ(t.Weight(1, 1), 1);
}

}  // namespace
}  // namespace whyrec
