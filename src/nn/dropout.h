// Dropout whose masks are functions of (seed, step, sample, place): the same for any number of
// ranks, any cut into micro-batches, and when a layer runs again. No mask is stored.
//
// A pass has rows (tokens, or a head's queries), each with a 32-bit key of its sample and its
// number in that sample; an element is dropped by a hash of its row's key, the place in the network
// and its column. So rows and columns need numbers that do not depend on the other samples.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::nn {

// Random streams of the samples of a pass. Without samples: no training, nothing is dropped.
struct Draws {
  std::vector<uint64_t> samples;
};

// Of samples of the global batch of a step, by place; or of first .. first + count - 1.
Draws DrawsOf(uint64_t seed, int64_t step, std::span<const int64_t> places);
Draws DrawsOf(uint64_t seed, int64_t step, int64_t first, int64_t count);

// Keys of the rows of what is dropped, for one place in a network.
class RowKeys {
 public:
  RowKeys() = default;  // drops nothing
  explicit RowKeys(at::Tensor rows) : rows_(std::move(rows)) {}

  bool defined() const { return rows_.defined(); }
  // i32 [..]. Its operators reshape and choose rows: keys.With(keys.rows().narrow(...)).
  const at::Tensor& rows() const { return rows_; }
  uint32_t site() const { return site_; }

  // The same rows elsewhere in the network, with masks of their own.
  RowKeys At(int64_t place) const;
  // The same place with other rows.
  RowKeys With(const at::Tensor& rows) const;
  // [b, t] -> [b, heads, t]
  RowKeys Heads(int64_t heads) const;

 private:
  at::Tensor rows_;
  uint32_t site_ = 0;
};

// Rows of one sample (its number in the pass) that stand together. The rows of a sample are
// numbered through, in the order of its runs.
struct RowRun {
  int64_t sample, rows;
};
// [rows of all runs], on `device`; undefined without samples. `network`: its name, for streams of
// its own.
RowKeys KeysOf(const Draws& draws, std::string_view network, std::span<const RowRun> runs,
               at::Device device);
// As many rows of every sample: [samples, rows].
RowKeys KeysOf(const Draws& draws, std::string_view network, int64_t rows, at::Device device);

// x [.., c] with each element 0 by probability p, else x / (1 - p); keys.rows() has the shape of x
// without its last dimension. x itself where p is 0 or the keys are undefined.
at::Tensor Dropout(const at::Tensor& x, double p, const RowKeys& keys);

// The same bits by operators that every device has, without gradients: what Dropout is off the CPU.
at::Tensor DropoutByOperators(const at::Tensor& x, double p, const RowKeys& keys);

}  // namespace whyrec::nn
