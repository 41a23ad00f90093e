// The three moments at which PULSE looks at a user (pulse 2.4): before the last training item,
// before the validation item, before the test item.
#pragma once

#include <string>
#include <vector>

#include "src/data/split.h"
#include "src/gen/evidence.h"

namespace whyrec::stages {

inline const std::vector<std::string> kPulseSplits = {"train", "validation", "test"};

class PulseUsers {
 public:
  PulseUsers(const data::TrainView& train, const data::LabelStore& labels)
      : train_(train), labels_(labels) {}

  // The events before that moment, oldest first; none where the user has no example in the split.
  std::vector<data::Interaction> Events(const std::string& split, int64_t user) const;
  // The same as a prompt shows them.
  std::vector<gen::Event> History(const std::string& split, int64_t user) const;
  // The last training item: the target that training alone may name.
  gen::Target TrainTarget(int64_t user) const;
  // When the split's target was bought; 0: unknown.
  int64_t TargetTime(const std::string& split, int64_t user) const;
  // A user's newest `count` training items before `before` (0: no limit), newest first.
  std::vector<std::string> NewestTitles(int64_t user, int64_t count, int64_t before) const;

 private:
  const data::TrainView& train_;
  const data::LabelStore& labels_;
};

}  // namespace whyrec::stages
