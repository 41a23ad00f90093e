// What the T5 recommenders (POD, ELMRec, ISRF) learn from: samples of three tasks, and their
// batches. No LibTorch here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proto/config.pb.h"
#include "src/base/host_tensor.h"
#include "src/base/ragged.h"
#include "src/data/samplers.h"
#include "src/data/split.h"
#include "src/systems/isrf/variants.h"
#include "src/text/prompt.h"
#include "src/text/token_cache.h"

namespace whyrec::systems {

using T5Task = config::IsrfConfig::Task;

struct Sample {
  int64_t user;                   // row
  std::vector<int64_t> items;     // sequential: history; direct: candidates; explanation: the item
  int64_t target = -1;            // item row; unused in the explanation task
  std::string text;               // explanation task
  int64_t prompt = text::kPlain;  // template; validation and test use the plain one
};

// Training samples as POD's public code draws them; each is a function of (task, global draw
// number).
class SampleSource {
 public:
  SampleSource(const data::TrainView& train, const config::RunConfig& config,
               const Ragged<int64_t>& negative_exclusion, const text::Templates& prompts);
  // The tasks that the data allow, in the order in which they take turns.
  const std::vector<T5Task>& tasks() const { return tasks_; }
  // What the public code calls an epoch: floor(records / B) + 2 floor(users / B) steps, B the
  // global batch; at least one of each task.
  int64_t EpochSteps() const;
  Sample Draw(T5Task task, int64_t draw);

 private:
  Sample Explanation(int64_t draw);
  Sample Sequential(int64_t draw);
  Sample Direct(int64_t draw);

  const data::TrainView& train_;
  const config::RunConfig& config_;
  const Ragged<int64_t>& exclusion_;
  const text::Templates& prompts_;
  std::vector<T5Task> tasks_;
  std::vector<int64_t> users_;  // with two training items or more
  std::unique_ptr<data::CursorSampler> explanations_, sequential_, direct_;
};

struct Batch {
  T5Task task;
  HostTensor source;       // I64 [B,S], padded with 0
  HostTensor mask;         // U8 [B,S], 1 = token
  HostTensor whole_words;  // I64 [B,S]: row of the whole-word table, or of the node table
  HostTensor target;       // I64 [B,T], padded with 0
  HostTensor users;        // I64 [B], node rows (user row + 1)
};

// Renders prompts, tokenizes and pads them. The whole-word ids of mentions are ordinals in the
// sequential task and, without a graph, in all tasks; otherwise node rows (src/text/whole_word.h).
class BatchMaker {
 public:
  BatchMaker(IsrfVariant variant, const data::TrainView& train, const config::IsrfConfig& config,
             const text::Templates& prompts, const text::Tokenizer& tokenizer);
  Batch Make(T5Task task, std::span<const Sample> samples);
  // Pieces of an item's number as a target, without </s>.
  std::vector<int64_t> NumberTokens(int64_t item_row);

 private:
  std::string Prompt(T5Task task, const Sample& sample) const;
  text::Tokens Source(T5Task task, const Sample& sample);
  std::vector<int64_t> Target(T5Task task, const Sample& sample);

  const IsrfVariant variant_;
  const data::TrainView& train_;
  const config::IsrfConfig& config_;
  const text::Templates& prompts_;
  text::TokenCache cache_;
};

}  // namespace whyrec::systems
