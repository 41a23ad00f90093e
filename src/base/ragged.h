// Rows of different lengths in one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace whyrec {

// Row i is values[offsets[i] .. offsets[i+1]); offsets has one entry more than there are rows.
template <typename T>
struct Ragged {
  std::vector<int64_t> offsets{0};
  std::vector<T> values;

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  std::span<const T> row(int64_t i) const {
    return {values.data() + offsets[i], static_cast<size_t>(offsets[i + 1] - offsets[i])};
  }
  template <typename Range>
  void Append(const Range& row) {
    values.insert(values.end(), row.begin(), row.end());
    offsets.push_back(static_cast<int64_t>(values.size()));
  }
};

}  // namespace whyrec
