// The passes of one batch of requests: admission, what each pass reads, drawing. For
// text_engine.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "src/lm/prefix_cache.h"
#include "src/lm/segment_attention.h"
#include "src/lm/text_engine.h"

namespace whyrec::lm {

// Requests under the same rotary factors, in the order in which they are admitted.
struct EngineBatch {
  std::vector<size_t> requests;
  PrefixCache::Factors factors = PrefixCache::Factors::kShort;
  int64_t width = 0;  // largest max_new_tokens
  int64_t total = 0;  // longest sequence, prompt and output
};

class BatchRun {
 public:
  struct Job {
    const Phi& model;
    const EngineOptions& options;
    const std::vector<EngineRequest>& requests;
    const EngineBatch& batch;
    const decode::Sampling& sampling;
  };
  BatchRun(const Job& job, PrefixCache& cache, EngineCounts& counts);
  ~BatchRun();  // gives back what unfinished sequences hold
  BatchRun(const BatchRun&) = delete;
  BatchRun& operator=(const BatchRun&) = delete;

  // False: stopped.
  bool Finish(const TextEngine::Done& done, const std::function<bool()>& stop);

 private:
  // The prompt without its last token ends at `leaf`; the last token and the drawn ones are in the
  // sequence's own suffix.
  struct Row {
    size_t request = 0;
    Segment* leaf = nullptr;
    int64_t token = 0, position = 0;  // what it reads next
    int64_t own = 0;                  // tokens in its slot: as many as it has drawn
    EngineOutput output;
  };
  // A node of the tree that one pass works on.
  struct Branch {
    std::vector<Segment*> below;
    std::vector<int64_t> rows;  // slots
    bool linked = false;        // is in its parent's list
  };
  using Tree = std::unordered_map<Segment*, Branch>;
  struct Pass {
    std::vector<int64_t> ids, positions;  // packed tokens
    SegmentPlan plan;
  };

  void Admit();
  std::vector<Segment*> ChooseReads();
  void Seat();
  Pass Pack(const std::vector<Segment*>& read) const;
  void PackBranch(const Tree& tree, Segment* segment, Pass& pass) const;
  void Step(const TextEngine::Done& done);
  void Advance(const std::vector<decode::Drawn>& drawn, const TextEngine::Done& done);
  void Leave(size_t slot);

  Job job_;
  PrefixCache* cache_;
  EngineCounts* counts_;
  SuffixCache suffixes_;
  at::Device device_;
  std::deque<size_t> waiting_;
  std::deque<Row> admitted_;  // their prompts are not all read yet
  std::vector<Row> rows_;     // by slot
};

}  // namespace whyrec::lm
