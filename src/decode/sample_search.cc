#include "src/decode/sample_search.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include "src/base/error.h"
#include "src/decode/step_batch.h"

namespace whyrec::decode {

namespace {

struct LiveRow {
  size_t at, place;  // of the request in the batch, of the continuation in its request
  int64_t row;       // of the logits
};

std::vector<LiveRow> LiveRows(const StepBatch& batch, const std::vector<Continuation>& all,
                              size_t width) {
  std::vector<LiveRow> live;
  for (size_t at = 0; at < batch.samples().size(); ++at) {
    for (size_t place = 0; place < width; ++place) {
      if (all[batch.samples()[at] * width + place].finished) continue;
      const int64_t own = batch.width() == 1 ? 0 : static_cast<int64_t>(place);
      live.push_back({at, place, static_cast<int64_t>(at) * batch.width() + own});
    }
  }
  return live;
}

at::Tensor RowsOf(const at::Tensor& logits, const std::vector<LiveRow>& live) {
  if (logits.size(0) == std::ssize(live)) return logits;  // all of them, in order
  std::vector<int64_t> rows;
  for (const LiveRow& l : live) rows.push_back(l.row);
  return logits.index_select(0, at::tensor(rows).to(logits.device()));
}

}  // namespace

std::vector<Continuation> SampleSearch(const StepFunction& step,
                                       const std::vector<std::string>& names,
                                       const Sampling& sampling, const SampleOptions& options) {
  const auto width = static_cast<size_t>(options.continuations);
  WR_CHECK(width > 0 && names.size() % width == 0, names.size(), " names, ", width, " each");
  const c10::NoGradGuard no_grad;
  const size_t requests = names.size() / width;
  if (requests == 0) return {};
  std::vector<Continuation> out(names.size());
  StepBatch batch(static_cast<int64_t>(requests), options.continuations, options.start,
                  options.compact_share);
  for (int64_t length = 0; length < options.max_new_tokens; ++length) {
    const at::Tensor logits = step(batch.Input());
    WR_CHECK(logits.size(0) == batch.rows(), logits.size(0), " rows of logits, not ", batch.rows());
    const std::vector<LiveRow> live = LiveRows(batch, out, width);
    std::vector<Stream> streams;
    for (const LiveRow& l : live) {
      streams.push_back({names[batch.samples()[l.at] * width + l.place], length});
    }
    const std::vector<Drawn> drawn = Draw(RowsOf(logits, live), sampling, streams);
    std::vector<bool> finished(requests, true);
    for (size_t d = 0; d < drawn.size(); ++d) {
      const auto [at, place, row] = live[d];
      const size_t request = batch.samples()[at];
      Continuation& continuation = out[request * width + place];
      continuation.log_probability += drawn[d].log_probability;
      continuation.finished = drawn[d].token == options.eos;
      if (continuation.finished) continue;
      finished[request] = false;
      continuation.tokens.push_back(drawn[d].token);
      batch.Set(at, static_cast<int64_t>(place), row % batch.width(), drawn[d].token);
    }
    if (!batch.Next(finished)) break;
  }
  return out;
}

}  // namespace whyrec::decode
