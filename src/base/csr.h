// Sparse matrices in compressed rows (CSR).
#pragma once

#include <cstdint>
#include <vector>

namespace whyrec {

// diag(row_scale) B diag(column_scale). A normalised graph then needs no value an edge: B has ones,
// four bytes each. Row r of B holds the entries offsets[r] .. offsets[r + 1] of `indices`; a column
// may stand in a row several times, which adds up.
struct Csr {
  int64_t columns = 0;               // at most 2^31 - 1
  std::vector<int64_t> offsets{0};   // [rows + 1]
  std::vector<int32_t> indices;      // column of each entry, ascending within a row
  std::vector<float> values;         // parallel to indices; empty: all 1
  std::vector<double> row_scale;     // [rows]; empty: all 1
  std::vector<double> column_scale;  // [columns]; empty: all 1

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t entries() const { return static_cast<int64_t>(indices.size()); }
  // Of entry k, which stands in row `row`, with both scales.
  double Weight(int64_t row, int64_t k) const;
};

Csr Transpose(const Csr& a);

}  // namespace whyrec
