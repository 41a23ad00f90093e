// The examples of PULSE, one per user and split: what the user did before the target, and the
// target (pulse 2.4). The training target is the last training item; held-out ones belong to
// LabelStore and need a PublishedProtocol to get into a text.
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
  // Both outlive it.
  Examples(const data::TrainView& train, const data::LabelStore& labels)
      : train_(train), labels_(labels) {}

  // Users with fewer than two training items have no training example; those without a held-out
  // item none of that split.
  bool Has(const std::string& split, int64_t user) const;
  // What happened before the target, oldest first.
  std::vector<data::Interaction> Events(const std::string& split, int64_t user) const;
  std::vector<gen::Event> History(const std::string& split, int64_t user) const;
  gen::Target TrainTarget(int64_t user) const;
  gen::Target Target(const data::PublishedProtocol&, const std::string& split, int64_t user) const;
  int64_t TargetTime(const std::string& split, int64_t user) const;  // 0: unknown
  // What prompts may show: `neighbours` are rows of users, the nearest first. Without a history
  // where the user has no example.
  gen::Evidence EvidenceOf(const std::string& split, int64_t user,
                           std::span<const int32_t> neighbours,
                           const config::NeighboursConfig& config) const;
  // What reasons are compared with: b_u, with the target where the published protocol has it so.
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
