// The CPU kernel of sparse products: sums of gathered rows. Without LibTorch.
//
// What bounds a product with a graph is the reading of rows at random. So rows are read in panels
// of 64 columns, whose tables stay longer in the caches than whole rows would, and nothing else is
// read an edge but its column (gather limits: docs/bench/). Sums run over a row's entries in order,
// products and sums are rounded one by one: the bits depend neither on the number of threads nor on
// the vector width of the CPU.
#pragma once

#include <cstdint>

#include "src/base/csr.h"

namespace whyrec::nn {

struct BFloat16 {  // the upper half of a float
  uint16_t bits;
};

// Columns of a table, [rows, width] in memory with `stride` values from row to row.
template <typename T>
struct Columns {
  T* data = nullptr;
  int64_t stride = 0, width = 0;
};

// out[r] = after[r] (add[r] + before[r] sum_k values[k] source[indices[k]]), k over the entries of
// row r. before, after: per row, or everywhere 1 where null; `add` may be null, too.
template <typename Source, typename T, typename Out>
struct GatherSum {
  const Csr* matrix;  // its scales are not read
  Columns<const Source> source;
  Columns<const T> add;
  const T* before = nullptr;
  const T* after = nullptr;
  T factor = 1;  // of every row
  Columns<Out> out;
};

// For the rows [begin, end) and any width. Sums are in T, the type of `add`.
void Run(const GatherSum<float, float, float>& sum, int64_t begin, int64_t end);
void Run(const GatherSum<double, double, double>& sum, int64_t begin, int64_t end);
void Run(const GatherSum<BFloat16, float, BFloat16>& sum, int64_t begin, int64_t end);
void Run(const GatherSum<BFloat16, float, float>& sum, int64_t begin, int64_t end);

// out[r] = scale[r] in[r], rows [begin, end); scale null: copies.
void ScaleRows(const Columns<const float>& in, const float* scale, const Columns<float>& out,
               int64_t begin, int64_t end);
void ScaleRows(const Columns<const double>& in, const double* scale, const Columns<double>& out,
               int64_t begin, int64_t end);
void ScaleRows(const Columns<const float>& in, const float* scale, const Columns<BFloat16>& out,
               int64_t begin, int64_t end);

}  // namespace whyrec::nn
