#include "src/decode/step_batch.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

namespace whyrec::decode {

StepBatch::StepBatch(int64_t samples, int64_t width, int64_t start, double compact_share)
    : full_width_(width),
      start_(start),
      compact_share_(compact_share),
      samples_(static_cast<size_t>(samples)),
      tokens_(samples_.size(), start) {
  std::iota(samples_.begin(), samples_.end(), 0);
  ResetNext();
}

StepInput StepBatch::Input() const {
  StepInput input{.tokens = at::tensor(tokens_), .origin = {}, .width = width_, .kept = kept_};
  if (!origin_.empty()) input.origin = at::tensor(origin_);
  return input;
}

void StepBatch::ResetNext() {
  const size_t width = static_cast<size_t>(full_width_);
  next_tokens_.assign(samples_.size() * width, start_);
  next_origin_.resize(next_tokens_.size());
  for (size_t i = 0; i < next_origin_.size(); ++i) {
    next_origin_[i] = static_cast<int64_t>(i / width) * width_;
  }
}

void StepBatch::Set(size_t at, int64_t row, int64_t from, int64_t token) {
  const size_t place = at * static_cast<size_t>(full_width_) + static_cast<size_t>(row);
  next_tokens_[place] = token;
  next_origin_[place] = static_cast<int64_t>(at) * width_ + from;
}

bool StepBatch::Next(const std::vector<bool>& finished) {
  std::vector<int64_t> kept;
  for (size_t at = 0; at < samples_.size(); ++at) {
    if (!finished[samples_[at]]) kept.push_back(static_cast<int64_t>(at));
  }
  const size_t out = samples_.size() - kept.size();
  const auto due = compact_share_ * static_cast<double>(samples_.size());
  const bool compact = out > 0 && static_cast<double>(out) >= due;
  kept_ = compact ? at::tensor(kept) : at::Tensor();
  if (compact) {
    for (size_t i = 0; i < kept.size(); ++i) {
      const int64_t from = kept[i] * full_width_, to = static_cast<int64_t>(i) * full_width_;
      std::copy_n(next_tokens_.begin() + from, full_width_, next_tokens_.begin() + to);
      std::copy_n(next_origin_.begin() + from, full_width_, next_origin_.begin() + to);
      samples_[i] = samples_[static_cast<size_t>(kept[i])];
    }
    samples_.resize(kept.size());
    next_tokens_.resize(kept.size() * static_cast<size_t>(full_width_));
    next_origin_.resize(next_tokens_.size());
  }
  tokens_.swap(next_tokens_);
  origin_.swap(next_origin_);
  width_ = full_width_;
  ResetNext();
  return !kept.empty();
}

}  // namespace whyrec::decode
