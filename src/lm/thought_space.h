// The space in which reasons are compared with behaviours (PULSE equation 2): two encoders and how
// their vectors are taken. No LibTorch types.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "proto/pulse.pb.h"
#include "src/gen/reason_scorer.h"
#include "src/lm/encoder.h"

namespace whyrec::lm {

// S = cosine of a reason's vector and its behaviour's; each distinct text of a call is encoded
// once. `behaviour` null: one encoder reads both kinds of text. Both normalise their vectors.
std::unique_ptr<gen::ReasonScorer> MakeReasonScorer(std::unique_ptr<Encoder> rationale,
                                                    std::unique_ptr<Encoder> behaviour);

// What training wrote beside the folders rationale/ and behaviour/.
struct ThoughtFacts {
  double log_tau = 0;
  config::ThoughtConfig::Pooling pooling = config::ThoughtConfig::CLS;
  int64_t max_tokens = 0;
  double retrieval_before = 0, retrieval_after = 0;  // R@1 of held-out users, 1 of 11
  int64_t held_out = 0;                              // such users
};
void SaveThoughtFacts(const ThoughtFacts& facts, const std::filesystem::path& folder);
ThoughtFacts LoadThoughtFacts(const std::filesystem::path& folder);  // Error(kData)

Pooling PoolingOf(config::ThoughtConfig::Pooling pooling);

// The trained pair of a folder, in fp32. `device`: src/tensor/device.h.
std::unique_ptr<gen::ReasonScorer> LoadThoughtSpace(const std::filesystem::path& folder,
                                                    const std::string& device);

// A DistilBERT of the configured sizes with drawn weights, in Hugging Face form: what both encoders
// start from where thought.encoder names no folder. A function of configuration and seed.
void WriteRandomEncoder(const config::ThoughtConfig& config, uint64_t seed,
                        const std::filesystem::path& folder);

}  // namespace whyrec::lm
