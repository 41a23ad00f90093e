// GRU4Rec as a scorer, for its registration and its tests.
#pragma once

#include "src/ranking/scorer.h"

namespace whyrec::systems {

struct Gru4RecConfig {
  int64_t items = 0;  // I; item i has row i + 1 of the table
  int64_t dim = 64, hidden = 128;
  int64_t length = 50;  // newest events that are read
  double dropout = 0.3;
};

class Gru4Rec final : public ranking::Scorer {
 public:
  // Parameters under the names of RecBole.
  Gru4Rec(const Gru4RecConfig& config, at::ScalarType dtype, at::Device device);

  nn::Parameters& parameters() override { return parameters_; }
  void Initialise(uint64_t seed) override;
  Loss loss() const override { return Loss::kCrossEntropy; }
  at::Tensor LossSum(const ranking::Examples& examples, const nn::Draws& draws) override;
  at::Tensor Scores(std::span<const ranking::Query> queries, ranking::Range items) override;

 private:
  using Histories = std::vector<std::span<const int64_t>>;
  at::Tensor Queries(const Histories& histories, const nn::Draws& draws) const;  // [B, d]
  at::Tensor Items(ranking::Range items) const;                                  // [n, d]
  at::Tensor Indices(std::span<const int64_t> values) const;

  const Gru4RecConfig config_;
  nn::Parameters parameters_;
};

}  // namespace whyrec::systems
