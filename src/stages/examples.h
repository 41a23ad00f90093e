// PULSE's examples, one per user and split: the target, and what the user did before it. The
// training target is the last training item. Validation and test targets belong to LabelStore; only
// a PublishedProtocol can get them into a text.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "src/data/split.h"
#include "src/gen/evidence.h"

namespace whyrec::stages {

inline constexpr const char* kSplits[] = {"train", "validation", "test"};

class Examples {
 public:
  // Both arguments must outlive this object.
  Examples(const data::TrainView& train, const data::LabelStore& labels)
      : train_(train), labels_(labels) {}

  // Whether the user has an example: in "train" with two training items or more, otherwise with a
  // held-out item of that split.
  bool Has(const std::string& split, int64_t user) const;
  // What happened before the target, oldest first.
  std::vector<data::Interaction> Events(const std::string& split, int64_t user) const;
  std::vector<gen::Event> History(const std::string& split, int64_t user) const;
  gen::Target TrainTarget(int64_t user) const;
  gen::Target Target(const data::PublishedProtocol&, const std::string& split, int64_t user) const;
  int64_t TargetTime(const std::string& split, int64_t user) const;  // 0: unknown
  // What prompts may show. `neighbours`: user rows, nearest first. The history is empty when the
  // user has no example.
  gen::Evidence EvidenceOf(const std::string& split, int64_t user,
                           std::span<const int32_t> neighbours,
                           const config::NeighboursConfig& config) const;
  // b_u, the text that reasons are compared with; it names the target where the published protocol
  // does.
  std::string AnchorOf(const std::string& split, int64_t user,
                       const config::BehaviourConfig& config) const;
  // A user's newest `count` training items before the time `before` (0: no limit), newest first.
  std::vector<std::string> NewestTitles(int64_t user, int64_t count, int64_t before) const;

 private:
  std::string Title(int64_t item) const;

  const data::TrainView& train_;
  const data::LabelStore& labels_;
};

}  // namespace whyrec::stages
