#include "src/lm/engine_batch.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "src/base/error.h"

namespace whyrec::lm {

using State = Segment::State;

BatchRun::BatchRun(const Job& job, PrefixCache& cache, EngineCounts& counts)
    : job_(job),
      cache_(&cache),
      counts_(&counts),
      suffixes_(cache.shape(), job.batch.width),
      device_(cache.shape().device),
      waiting_(job.batch.requests.begin(), job.batch.requests.end()) {}

BatchRun::~BatchRun() {
  for (const Row& row : rows_) cache_->Release(row.leaf, job_.batch.width);
  for (const Row& row : admitted_) cache_->Release(row.leaf, job_.batch.width);
}

bool BatchRun::Finish(const TextEngine::Done& done, const std::function<bool()>& stop) {
  while (!waiting_.empty() || !admitted_.empty() || !rows_.empty()) {
    if (stop && stop()) return false;
    Admit();
    Step(done);
  }
  return true;
}

// In order: who does not fit waits, and so do those behind, or long prompts would starve.
void BatchRun::Admit() {
  while (!waiting_.empty() && std::ssize(rows_) + std::ssize(admitted_) < job_.options.max_rows) {
    const EngineRequest& request = job_.requests[waiting_.front()];
    const std::span<const int64_t> ids(request.ids.data(), request.ids.size() - 1);
    const auto acquire = [&] {
      return cache_->Acquire(job_.batch.factors, ids, job_.batch.width,
                             job_.options.share_prefixes);
    };
    Segment* leaf = acquire();
    if (!leaf && rows_.empty() && admitted_.empty()) {
      cache_->Clear();  // only halves of split segments can be in the way
      leaf = acquire();
      WR_CHECK(leaf, request.name, " does not fit an empty cache");
    }
    if (!leaf) return;
    admitted_.push_back({.request = waiting_.front(),
                         .leaf = leaf,
                         .token = request.ids.back(),
                         .position = std::ssize(ids)});
    counts_->prompt_tokens += std::ssize(request.ids);
    waiting_.pop_front();
  }
}

// Unread segments of admitted sequences, first come first served, as many tokens as one pass takes.
std::vector<Segment*> BatchRun::ChooseReads() {
  std::vector<Segment*> chosen;
  int64_t room = job_.options.prefill_tokens;
  for (const Row& row : admitted_) {
    for (Segment* segment : PrefixCache::Chain(row.leaf)) {
      if (segment->state != State::kWaiting) continue;
      const bool whole = segment->size() <= room;
      if (!whole) {
        // Split only segments longer than a pass: each split costs one more matrix product for
        // every sequence that uses the segment.
        if (segment->size() <= job_.options.prefill_tokens) return chosen;
        segment = cache_->Split(segment, room);
      }
      cache_->BeginRead(segment);
      chosen.push_back(segment);
      room -= segment->size();
      if (!whole || room == 0) return chosen;
    }
  }
  return chosen;
}

// Sequences whose prompts are complete by the end of this pass already draw in it: in each layer, a
// segment's keys are written before they are read.
void BatchRun::Seat() {
  std::deque<Row> unready;
  for (Row& row : admitted_) {
    const auto chain = PrefixCache::Chain(row.leaf);
    const bool ready = std::none_of(chain.begin(), chain.end(), [](const Segment* segment) {
      return segment->state == State::kWaiting;
    });
    if (ready) {
      rows_.push_back(std::move(row));
    } else {
      unready.push_back(std::move(row));
    }
  }
  admitted_.swap(unready);
  suffixes_.Grow(std::ssize(rows_));
}

BatchRun::Pass BatchRun::Pack(const std::vector<Segment*>& read) const {
  Tree tree;
  std::vector<Segment*> roots;
  const auto reach = [&](Segment* segment) -> Branch& {
    Branch& branch = tree[segment];
    for (Segment* s = segment; !tree[s].linked; s = s->parent) {
      tree[s].linked = true;
      if (!s->parent) {
        roots.push_back(s);
        break;
      }
      tree[s->parent].below.push_back(s);
    }
    return branch;
  };
  for (Segment* segment : read) reach(segment);
  for (size_t slot = 0; slot < rows_.size(); ++slot) {
    reach(rows_[slot].leaf).rows.push_back(static_cast<int64_t>(slot));
  }
  Pass pass;
  pass.plan.rows.resize(rows_.size());
  for (const Row& row : rows_) pass.plan.lengths.push_back(row.own);
  for (Segment* root : roots) PackBranch(tree, root, pass);
  return pass;
}

void BatchRun::PackBranch(const Tree& tree, Segment* segment, Pass& pass) const {
  const auto packed = [&pass] { return std::ssize(pass.ids); };
  if (segment->state == State::kReading) {
    pass.plan.read.push_back({packed(), segment->size(), segment});
    for (int64_t i = 0; i < segment->size(); ++i) {
      pass.ids.push_back(segment->ids[static_cast<size_t>(i)]);
      pass.positions.push_back(segment->begin + i);
    }
  }
  const int64_t first = packed();
  const Branch& branch = tree.at(segment);
  for (const int64_t slot : branch.rows) {
    const Row& row = rows_[static_cast<size_t>(slot)];
    pass.plan.rows[static_cast<size_t>(slot)] = packed();
    pass.ids.push_back(row.token);
    pass.positions.push_back(row.position);
  }
  for (Segment* below : branch.below) PackBranch(tree, below, pass);
  if (segment->parent && packed() > first) {
    pass.plan.below.push_back({first, packed() - first, segment});
  }
}

void BatchRun::Step(const TextEngine::Done& done) {
  const std::vector<Segment*> read = ChooseReads();
  Seat();
  Pass pass = Pack(read);
  WR_CHECK(!pass.ids.empty(), "a pass without tokens");
  SegmentAttention attention(pass.plan, suffixes_, device_);
  const at::Tensor hidden =
      job_.model.Hidden(at::tensor(pass.ids).to(device_), at::tensor(pass.positions).to(device_),
                        std::ref(attention), job_.batch.total);  // [N, d]
  for (Segment* segment : read) {
    segment->state = State::kRead;
    counts_->prefilled_tokens += segment->size();
  }
  ++counts_->steps;
  if (rows_.empty()) return;
  std::vector<decode::Stream> streams;
  for (const Row& row : rows_) streams.push_back({job_.requests[row.request].name, row.own});
  const at::Tensor last = hidden.index_select(0, at::tensor(pass.plan.rows).to(device_));
  Advance(decode::Draw(job_.model.Logits(last), job_.sampling, streams), done);
}

// Slots are freed from the last, whose sequence moves into each that is freed before it.
void BatchRun::Advance(const std::vector<decode::Drawn>& drawn, const TextEngine::Done& done) {
  const std::vector<int64_t>& ends = job_.model.config().eos;
  counts_->decoded_tokens += std::ssize(drawn);
  for (size_t slot = rows_.size(); slot-- > 0;) {
    Row& row = rows_[slot];
    row.output.log_probability += drawn[slot].log_probability;
    row.output.finished = std::find(ends.begin(), ends.end(), drawn[slot].token) != ends.end();
    if (!row.output.finished) row.output.ids.push_back(drawn[slot].token);
    row.token = drawn[slot].token;
    ++row.position;
    ++row.own;
    if (!row.output.finished && row.own < job_.requests[row.request].max_new_tokens) continue;
    const size_t request = row.request;
    EngineOutput output = std::move(row.output);
    Leave(slot);
    done(request, std::move(output));
  }
}

void BatchRun::Leave(size_t slot) {
  cache_->Release(rows_[slot].leaf, job_.batch.width);
  const size_t last = rows_.size() - 1;
  if (slot != last) {
    suffixes_.Move(static_cast<int64_t>(last), static_cast<int64_t>(slot));
    rows_[slot] = std::move(rows_[last]);
  }
  rows_.pop_back();
}

}  // namespace whyrec::lm
