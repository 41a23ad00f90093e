#include "src/base/csr.h"

#include <cstddef>
#include <numeric>

namespace whyrec {

double Csr::Weight(int64_t row, int64_t k) const {
  const auto r = static_cast<size_t>(row), e = static_cast<size_t>(k);
  return (row_scale.empty() ? 1.0 : row_scale[r]) *
         (values.empty() ? 1.0 : static_cast<double>(values[e])) *
         (column_scale.empty() ? 1.0 : column_scale[static_cast<size_t>(indices[e])]);
}

Csr Transpose(const Csr& a) {
  Csr out;
  out.columns = a.rows();
  out.offsets.assign(static_cast<size_t>(a.columns) + 1, 0);
  for (const int32_t column : a.indices) ++out.offsets[static_cast<size_t>(column) + 1];
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  out.indices.resize(a.indices.size());
  out.values.resize(a.values.size());
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (size_t row = 0; row + 1 < a.offsets.size(); ++row)  // rows in order: so are the columns
    for (auto k = static_cast<size_t>(a.offsets[row]); k < static_cast<size_t>(a.offsets[row + 1]);
         ++k) {
      const auto to = static_cast<size_t>(next[static_cast<size_t>(a.indices[k])]++);
      out.indices[to] = static_cast<int32_t>(row);
      if (!a.values.empty()) out.values[to] = a.values[k];
    }
  out.row_scale = a.column_scale;
  out.column_scale = a.row_scale;
  return out;
}

}  // namespace whyrec
