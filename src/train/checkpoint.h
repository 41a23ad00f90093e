// Checkpoints of a training run: <folder>/.checkpoint/step-<n>/ with model, optimiser and progress.
// A checkpoint is renamed into place when it is complete, then the one before goes.
#pragma once

#include <filesystem>
#include <string>

#include "src/nn/parameters.h"
#include "src/train/optimizer.h"

namespace whyrec::train {

// Where a run stands; with the counter-based draws this is all the state there is besides tensors.
struct Progress {
  int64_t step = 0;        // steps done
  double best = 0;         // validation value
  int64_t best_step = -1;  // -1: none yet
  int64_t endured = 0;     // validations without improvement, by the patience rule
  bool stopped = false;    // patience is used up
};

class Checkpoints {
 public:
  explicit Checkpoints(std::filesystem::path folder);
  // All ranks call it; complete when rank 0 has returned.
  void Save(const Progress& progress, const nn::Parameters& parameters, const AdamW& optimizer,
            cluster::Communicator& comm) const;
  // Copies the newest complete checkpoint into parameters and optimizer; false when there is none.
  bool Load(Progress& progress, nn::Parameters& parameters, AdamW& optimizer) const;
  // The best model so far, by its step; older ones go with the next Save.
  std::filesystem::path BestFile(int64_t step) const;
  void Drop() const;  // all of it, at the end

 private:
  std::filesystem::path folder_;
};

// Parameters as a safetensors file under their paths, and back. Missing, unknown or misshapen:
// Error(kData).
// SaveParameters is called by all ranks.
void SaveParameters(const nn::Parameters& parameters, const std::filesystem::path& file,
                    cluster::Communicator& comm);
void LoadParameters(nn::Parameters& parameters, const std::filesystem::path& file);

}  // namespace whyrec::train
