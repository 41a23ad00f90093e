// Dropout whose masks are functions of (seed, step, sample, place in the network): the same for any
// number of ranks, any cut into micro-batches, and when a layer is recomputed in the backward pass.
// No mask is stored.
//
// A pass has rows (tokens, or a head's queries). Each row has a 32-bit key made of its sample and
// its number within the sample. Whether an element is dropped is a hash of its row's key, the place
// in the network and its column, so rows and columns are numbered independently of the other
// samples in the batch.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "src/nn/at.h"

namespace whyrec::nn {

// Random streams of the samples of a pass. Empty outside training: nothing is dropped.
struct Draws {
  std::vector<uint64_t> samples;
};

// Streams of samples of a step's global batch, by their places in it; or of the places
// first .. first + count - 1.
Draws DrawsOf(uint64_t seed, int64_t step, std::span<const int64_t> places);
Draws DrawsOf(uint64_t seed, int64_t step, int64_t first, int64_t count);

// Keys of the rows of one tensor that dropout is applied to, at one place in a network.
class RowKeys {
 public:
  RowKeys() = default;  // drops nothing
  explicit RowKeys(at::Tensor rows) : rows_(std::move(rows)) {}

  bool defined() const { return rows_.defined(); }
  // i32 [..]. Its operators reshape and choose rows: keys.With(keys.rows().narrow(...)).
  const at::Tensor& rows() const { return rows_; }
  uint32_t site() const { return site_; }

  // The same rows at another place in the network, which has its own masks.
  RowKeys At(int64_t place) const;
  // The same place with other rows.
  RowKeys With(const at::Tensor& rows) const;
  // [b, t] -> [b, heads, t]
  RowKeys Heads(int64_t heads) const;

 private:
  at::Tensor rows_;
  uint32_t site_ = 0;
};

// Consecutive rows of one sample (by its index in the pass). A sample's rows are numbered in the
// order of its runs.
struct RowRun {
  int64_t sample, rows;
};
// Keys [rows of all runs], on `device`; undefined when `draws` is empty. `network`: a name, so that
// several networks of one model have different streams.
RowKeys KeysOf(const Draws& draws, std::string_view network, std::span<const RowRun> runs,
               at::Device device);
// The same number of rows for every sample: [samples, rows].
RowKeys KeysOf(const Draws& draws, std::string_view network, int64_t rows, at::Device device);

// x [.., c] with each element set to 0 with probability p, otherwise x / (1 - p). keys.rows() has
// the shape of x without its last dimension. Returns x itself when p is 0 or the keys are
// undefined.
at::Tensor Dropout(const at::Tensor& x, double p, const RowKeys& keys);

// The same bits from LibTorch operators that every device has, without gradients: how Dropout works
// on devices other than the CPU.
at::Tensor DropoutByOperators(const at::Tensor& x, double p, const RowKeys& keys);

}  // namespace whyrec::nn
