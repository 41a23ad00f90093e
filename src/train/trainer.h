// The training loop: loss, gradients, sum over ranks, step, validation, early stop, checkpoints,
// resume.
#pragma once

#include <filesystem>

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/data/catalogue.h"
#include "src/train/trainable.h"

namespace whyrec::train {

// Counts validations without improvement. CUMULATIVE never resets the counter, as in the papers'
// code.
class Patience {
 public:
  Patience(config::TrainConfig::Patience rule, int64_t limit) : rule_(rule), limit_(limit) {}
  // False when training has to stop. `endured` is the counter, kept by the caller.
  bool Continue(bool improved, int64_t& endured) const;

 private:
  config::TrainConfig::Patience rule_;
  int64_t limit_;
};

// Trains in `folder`: .checkpoint/ while under way; in the end model.safetensors (the best
// validation) and losses.csv (step,task,loss). A killed run that is started again continues with
// the same losses to the last bit on one rank. Stop signals save a checkpoint and throw
// Error(kStoppedEarly).
Facts Run(Trainable& model, const config::TrainConfig& config, const std::filesystem::path& folder,
          cluster::Communicator& comm);

}  // namespace whyrec::train
