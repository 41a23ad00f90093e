// The scorer's base model when none is configured: a small Phi, trained as a causal language model
// on the catalogue's texts. No LibTorch types.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cluster/collective/communicator.h"
#include "proto/config.pb.h"
#include "src/base/facts.h"
#include "src/data/split.h"

namespace whyrec::systems {

// What the base reads, one document each: of every item its title, brand, categories and the
// beginning of its description; of every training interaction the review under the item's title.
std::vector<std::string> LanguageTexts(const data::TrainView& train);

// Trains in `folder`, continuing an interrupted earlier run, and leaves a Hugging Face folder
// (config.json, model.safetensors, tokenizer.json). All ranks call it.
Facts TrainLanguage(const config::RunConfig& config, const data::TrainView& train,
                    cluster::Communicator& comm, const std::filesystem::path& folder);

}  // namespace whyrec::systems
