// SASRec as a scorer; used by its registration and its tests.
#pragma once

#include "src/ranking/scorer.h"
#include "src/systems/sasrec_network.h"

namespace whyrec::systems {

class SasRec final : public ranking::Scorer {
 public:
  // loss: kBce against one negative a target, or kCrossEntropy over all items.
  SasRec(const SasRecConfig& config, Loss loss, at::ScalarType dtype, at::Device device);

  nn::Parameters& parameters() override { return parameters_; }
  void Initialise(uint64_t seed) override { network_.Initialise(seed); }
  Loss loss() const override { return loss_; }
  at::Tensor LossSum(const ranking::Examples& examples, const nn::Draws& draws) override;
  at::Tensor Scores(std::span<const ranking::Query> queries, ranking::Range items) override;
  at::Tensor UserVectors(std::span<const ranking::Query> queries, bool padded) override;

  const SasRecNetwork& network() const { return network_; }

 private:
  at::Tensor States(std::span<const ranking::Query> queries, bool padded) const;

  Loss loss_;
  nn::Parameters parameters_;
  SasRecNetwork network_;
};

}  // namespace whyrec::systems
