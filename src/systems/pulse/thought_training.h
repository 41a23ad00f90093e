// Phase I of PULSE: trains the two thought encoders and their temperature on equation 1. No
// LibTorch types; the stage "thoughts" makes the texts.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/data/catalogue.h"

namespace whyrec::systems {

// One user's texts. Behaviours with the chosen item and without it.
struct ThoughtSample {
  std::string with_target, history, rationale;
  bool held_out = false;  // judged by retrieval, never trained on
};

// Trains on pulse.behaviour, pulse.thought and train (with pulse.thought.train merged in) and
// writes rationale/, behaviour/ (Hugging Face folders, lm::LoadEncoder reads them), thought.json
// (lm::LoadThoughtSpace), losses.csv and, where both encoders began at random, start/. Collective.
// Error(kUsage) for settings that do not fit; Error(kData) with fewer than two users to train on or
// none held out.
Facts TrainThoughts(const config::RunConfig& config, const std::vector<ThoughtSample>& samples,
                    cluster::Communicator& comm, const std::filesystem::path& folder);

}  // namespace whyrec::systems
