// The samples that a network still decodes, and what it is asked next.
#pragma once

#include <cstdint>
#include <vector>

#include "src/decode/step_model.h"

namespace whyrec::decode {

class StepBatch {
 public:
  // One row per sample, fed `start`; from the second step on `width` rows. Finished samples leave
  // once they are `compact_share` of the batch; until then their rows are fed `start` and not read.
  StepBatch(int64_t samples, int64_t width, int64_t start, double compact_share);

  StepInput Input() const;
  const std::vector<size_t>& samples() const { return samples_; }  // in the batch, ascending
  int64_t width() const { return width_; }  // rows per sample of the step that was asked last
  int64_t rows() const { return static_cast<int64_t>(samples_.size()) * width_; }

  // For the sample at place `at`: its row `row` of the next step appends `token` to its row `from`
  // of the last step. Rows that are not set are not read. Places may be set from several threads.
  void Set(size_t at, int64_t row, int64_t from, int64_t token);
  // To the next step: finished[i] says whether sample i is. False when none is left.
  bool Next(const std::vector<bool>& finished);

 private:
  void ResetNext();

  int64_t full_width_, start_;
  double compact_share_;
  int64_t width_ = 1;
  std::vector<size_t> samples_;
  std::vector<int64_t> tokens_, origin_;            // of the step that is asked
  std::vector<int64_t> next_tokens_, next_origin_;  // of the one after it, all samples
  at::Tensor kept_;
};

}  // namespace whyrec::decode
